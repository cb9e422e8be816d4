"""The benchmarks, one in each module; each module defines a `babar_tls.bench.workload.Workload`."""
