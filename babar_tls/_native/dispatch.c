/* Select the kernel. Only this file queries the features of the CPU.
 *
 * The fastest kernel is first. The portable kernel is last. It is slower than OpenSSL's assembly, which hashlib uses.
 * It runs on request, and for functions that have no alternative.
 */
#include "internal.h"

#include <string.h>

static const babar_kernel kernels[] = {
#ifdef BABAR_X86
    {"sha-ni", babar_sha256_shani_capable, babar_sha256_blocks_shani, babar_pbkdf2_iterate_shani,
     {{babar_avx512_capable, babar_pbkdf2_iterate_avx512, BABAR_WIDE_LANES},
      {babar_sha256_shani_capable, babar_pbkdf2_iterate3_shani, 3}}},
#endif
#ifdef BABAR_ARM
    {"armv8", babar_sha256_armv8_capable, babar_sha256_blocks_armv8, babar_pbkdf2_iterate_armv8,
     {{babar_sha256_armv8_capable, babar_pbkdf2_iterate3_armv8, 3}, {NULL, NULL, 0}}},
#endif
    {"portable", babar_sha256_portable_capable, babar_sha256_blocks_portable, babar_pbkdf2_iterate_portable,
     {{NULL, NULL, 0}, {NULL, NULL, 0}}},
};

#define COUNT (sizeof kernels / sizeof *kernels)

/* Every thread would write the same value, so that a race is harmless. */
static const babar_kernel *volatile selected;

static const babar_kernel *best(void)
{
    size_t i = 0;
    while (!kernels[i].capable())
        i++; /* stops at the portable kernel */
    return &kernels[i];
}

const babar_kernel *babar_current(void)
{
    const babar_kernel *kernel = selected;
    if (kernel == NULL)
        selected = kernel = best();
    return kernel;
}

size_t babar_kernel_count(void)
{
    return COUNT;
}

const char *babar_kernel_name(size_t index)
{
    return index < COUNT ? kernels[index].name : NULL;
}

int babar_kernel_capable(size_t index)
{
    return index < COUNT && kernels[index].capable();
}

size_t babar_kernel_lanes(size_t index)
{
    if (index >= COUNT)
        return 0;
    for (size_t i = 0; i < 2; i++) {
        const babar_group *group = &kernels[index].groups[i];
        if (group->lanes && group->capable())
            return group->lanes;
    }
    return 1;
}

int babar_select(const char *name)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (strcmp(kernels[i].name, name) == 0 && kernels[i].capable()) {
            selected = &kernels[i];
            return 0;
        }
    }
    return -1;
}

const char *babar_selected(void)
{
    return babar_current()->name;
}
