/* Run a fuzz target without libFuzzer: each seed, each prefix of a seed, and then `runs` reproducible mutations. It does
 * not measure coverage. The mutations are those that have found bugs in DER parsers: changed lengths and tags, and pieces
 * that are removed, duplicated or copied from another seed.
 *
 *     driver -runs=1000000 [-seed=1] file...
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SEEDS = 256, MAX_SIZE = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    uint8_t bytes[MAX_SIZE];
    size_t size;
} seeds[MAX_SEEDS];
static size_t seed_count;
static uint64_t state = 1;

static size_t random_below(size_t limit) /* xorshift64* */
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (size_t)((state * 0x2545f4914f6cdd1d) >> 33) % limit;
}

static size_t mutate(uint8_t *bytes, size_t size)
{
    static const uint8_t interesting[] = {0x00, 0x01, 0x02, 0x03, 0x05, 0x06, 0x1f, 0x30, 0x7f, 0x80,
                                          0x81, 0x82, 0x83, 0x84, 0x85, 0xa0, 0xa1, 0xa3, 0xa4, 0xff};
    size_t at = random_below(size + 1), count;

    switch (random_below(size ? 8 : 1)) {
    case 0: /* insert */
        if (size < MAX_SIZE) {
            memmove(bytes + at + 1, bytes + at, size - at);
            bytes[at] = interesting[random_below(sizeof interesting)];
            return size + 1;
        }
        return size;
    case 1: /* remove */
        count = random_below(random_below(8) ? 4 : size + 1);
        count = count > size - at ? size - at : count;
        memmove(bytes + at, bytes + at + count, size - at - count);
        return size - count;
    case 2: /* truncate */
        return at;
    case 3: /* flip a bit */
        bytes[at % size] ^= (uint8_t)(1u << random_below(8));
        return size;
    case 4: /* add or subtract one: a length that is off by one */
        bytes[at % size] = (uint8_t)(bytes[at % size] + (random_below(2) ? 1 : 255));
        return size;
    case 5:
        bytes[at % size] = (uint8_t)random_below(256);
        return size;
    case 6:
        bytes[at % size] = interesting[random_below(sizeof interesting)];
        return size;
    default: { /* overwrite with a piece of another seed */
        size_t other = random_below(seed_count), from = random_below(seeds[other].size + 1);
        count = random_below(seeds[other].size - from + 1);
        count = count > MAX_SIZE - at ? MAX_SIZE - at : count;
        memcpy(bytes + at, seeds[other].bytes + from, count);
        return at + count > size ? at + count : size;
    }
    }
}

int main(int argc, char **argv)
{
    static uint8_t bytes[MAX_SIZE];
    unsigned long long runs = 100000, done = 0;

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-runs=", 6) == 0) {
            runs = strtoull(argv[i] + 6, NULL, 10);
        } else if (strncmp(argv[i], "-seed=", 6) == 0) {
            state = strtoull(argv[i] + 6, NULL, 10) | 1;
        } else if (argv[i][0] != '-' && seed_count < MAX_SEEDS) {
            FILE *file = fopen(argv[i], "rb");
            if (file == NULL) {
                perror(argv[i]);
                return 2;
            }
            seeds[seed_count].size = fread(seeds[seed_count].bytes, 1, MAX_SIZE, file);
            seed_count++;
            fclose(file);
        }
    }
    if (seed_count == 0) {
        fprintf(stderr, "usage: %s [-runs=N] [-seed=N] file...\n", argv[0]);
        return 2;
    }
    for (size_t i = 0; i < seed_count; i++)
        for (size_t size = 0; size <= seeds[i].size; size++, done++)
            LLVMFuzzerTestOneInput(seeds[i].bytes, size);
    for (; runs; runs--, done++) {
        size_t chosen = random_below(seed_count), size = seeds[chosen].size;
        memcpy(bytes, seeds[chosen].bytes, size);
        for (size_t n = 1 + random_below(6); n; n--)
            size = mutate(bytes, size);
        LLVMFuzzerTestOneInput(bytes, size);
    }
    printf("%s: %llu inputs from %zu seeds, nothing found\n", argv[0], done, seed_count);
    return 0;
}
