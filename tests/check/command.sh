#!/bin/sh
# What `cermet check` says and how it ends. Usage: tests/check/command.sh CERMET
set -u
cermet=$1
failed=0
# ends CODE TEXT WORD...: runs the command; it must end with the code and say the text
ends() {
  code=$1
  text=$2
  shift 2
  said=$("$cermet" check "$@" 2>&1)
  got=$?
  case $said in
    *"$text"*) [ "$got" -eq "$code" ] && return ;;
  esac
  echo "FAILED: check $*: ended with $got, wanted $code and \"$text\"; said: $said"
  failed=1
}
unset CERMET_DEVICE
ends 0 'repeat: cermet check --kernel CNNPoolingMax --set kernelWidth=3 --images 1x4x5x2 --elements 9' \
  --kernel CNNPoolingMax --set kernelWidth=3 --images 1x4x5x2 --elements 9
ends 0 '--format float16 --tolerance 0.05' --kernel CNNSoftMax --format float16 --tolerance 0.05
ends 0 ' 0 failed' --kernel CNNSoftMax --all
ends 0 'CNNPoolingMax
  kernelWidth=2 kernelHeight=2' --list --kernel CNNPoolingMax
ends 1 'kernel is "CNNPoolingMedian"' --all --kernel CNNPoolingMedian
ends 1 'kernelWidth is 2.5; needed a whole number' --kernel CNNPoolingMax --set kernelWidth=2.5
ends 1 '"kernelWidth" twice' --kernel CNNPoolingMax --set kernelWidth=2 --set kernelWidth=3
ends 1 '--set is "kernelWidth"; needed name=number' --kernel CNNPoolingMax --set kernelWidth
ends 1 '--set is without --kernel' --set kernelWidth=3
ends 1 '--all is with --images, --format or --set' --all --images 1x1x1x1
ends 1 '--images is "4x5"; needed images x height' --images 4x5
ends 1 '--format is "bytes"; needed float32 or float16' --format bytes
ends 1 'tolerance is -1; needed a number above 0' --kernel CNNSoftMax --tolerance -1
ends 105 '--elements: got -1, needed a number from 0 on' --kernel CNNSoftMax --elements -1
ends 1 'FAILED' --kernel CNNSoftMax --tolerance 1e-12
[ "$failed" -eq 0 ] && echo "15 passed"
exit "$failed"
