# The lists of all operators, fusions and kernel classes, from the headers that declare them: each says
#   using <Family>Operators = TypeList<...>;   or Fusions, or Kernels
# so that a new header is in the tables of the backends, the archives and the tests by itself.
# Includes "catalog/operators.h" (cermet::Catalog, cermet::Fusions) and "catalog/kernels.h"
# (cermet::Kernels) are written into the build tree.

set(CERMET_GENERATED_DIR ${PROJECT_BINARY_DIR}/generated)

function(cermet_write_catalog file suffixes aliases)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/include/cermet/*.h)
  set(includes "")
  foreach(header IN LISTS headers)
    set(path ${PROJECT_SOURCE_DIR}/include/${header})
    set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${path})
    foreach(suffix IN LISTS suffixes)
      file(STRINGS ${path} lines REGEX "^using [A-Za-z]+${suffix} =")
      foreach(line IN LISTS lines)
        string(REGEX REPLACE "^using ([A-Za-z]+) .*" "\\1" list "${line}")
        string(APPEND lists_${suffix} "${separator_${suffix}}${list}")
        set(separator_${suffix} ", ")
        string(APPEND includes "#include \"${header}\"\n")
      endforeach()
    endforeach()
  endforeach()
  set(text "#pragma once\n// Made by cmake/CermetCatalog.cmake from the lists in the headers.\n\n${includes}\nnamespace cermet {\n\n")
  foreach(suffix alias IN ZIP_LISTS suffixes aliases)
    string(APPEND text "using ${alias} = Join<${lists_${suffix}}>;\n")
  endforeach()
  string(APPEND text "\n}  // namespace cermet\n")
  file(CONFIGURE OUTPUT ${CERMET_GENERATED_DIR}/catalog/${file} CONTENT "${text}" @ONLY)
endfunction()

cermet_write_catalog(operators.h "Operators;Fusions" "Catalog;Fusions")
cermet_write_catalog(kernels.h "Kernels" "Kernels")
