# Flags that every target of the project shares.

add_library(cermet_options INTERFACE)
target_compile_features(cermet_options INTERFACE cxx_std_20)
target_compile_options(cermet_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wconversion;-Wsign-conversion;-Wshadow;-Wnon-virtual-dtor>
                                                $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>)
if(CMAKE_CXX_COMPILER_ID STREQUAL Clang)
  # Loops marked simd that clang leaves alone; g++ vectorises them. Macros of clang's own headers.
  target_compile_options(cermet_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-pass-failed;-Wno-c99-extensions>)
endif()
# A backend declares its functions so (src/backend/engine_of.h).
target_compile_options(cermet_options INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-non-template-friend>
                                                $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wno-non-template-friend;-diag-suppress=1301>)
if(CERMET_WARNINGS_AS_ERRORS)
  target_compile_options(cermet_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror> $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # g++ 12 sees both inside std::string and std::vector where there is nothing.
    target_compile_options(cermet_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-error=restrict;-Wno-error=free-nonheap-object>)
  endif()
endif()
if(CERMET_SANITIZE)
  target_compile_options(cermet_options INTERFACE -fsanitize=${CERMET_SANITIZE} -fno-omit-frame-pointer
                                                  -fno-sanitize-recover=all)  # a report is a failure
  target_link_options(cermet_options INTERFACE -fsanitize=${CERMET_SANITIZE})
endif()
