// Stands in for libcuda.so.1 as an old driver has it: it knows CUDA 12.2.

extern "C" {
int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* version) {
  *version = 12020;
  return 0;
}
}
