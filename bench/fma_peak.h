#pragma once

/// Billions of float operations a second that `threads` threads reach with independent AVX2 FMAs.
double measured_fma_peak(int threads);
