# The lists of all operators, fusions and kernel classes, from the headers that declare them: each says
#   using <Family>Operators = TypeList<...>;   or Fusions, or Kernels
# so that a new header is in the tables of the backends, the archives and the tests by itself.
# "catalog/operators.h" (cermet::Catalog, cermet::Fusions) and "catalog/kernels.h" (cermet::Kernels) are
# written into CERMET_GENERATED_DIR. As a script it does so for other trees:
#   cmake -DCERMET_GENERATED_DIR=folder "-DCERMET_HEADER_ROOTS=include;more/include" -P CermetCatalog.cmake

if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(CERMET_GENERATED_DIR ${PROJECT_BINARY_DIR}/generated)
  set(CERMET_HEADER_ROOTS ${PROJECT_SOURCE_DIR}/include)
  set(configure_depends CONFIGURE_DEPENDS)
endif()

function(cermet_write_catalog file suffixes aliases)
  foreach(root IN LISTS CERMET_HEADER_ROOTS)
    file(GLOB_RECURSE headers ${configure_depends} RELATIVE ${root} ${root}/cermet/*.h)
    foreach(header IN LISTS headers)
      if(NOT CMAKE_SCRIPT_MODE_FILE)
        set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${root}/${header})
      endif()
      foreach(suffix IN LISTS suffixes)
        file(STRINGS ${root}/${header} lines REGEX "^using [A-Za-z0-9]+${suffix} =")
        foreach(line IN LISTS lines)
          string(REGEX REPLACE "^using ([A-Za-z0-9]+) .*" "\\1" list "${line}")
          string(APPEND lists_${suffix} "${separator_${suffix}}${list}")
          set(separator_${suffix} ", ")
          list(APPEND includes "#include \"${header}\"")
        endforeach()
      endforeach()
    endforeach()
  endforeach()
  list(REMOVE_DUPLICATES includes)
  list(JOIN includes "\n" includes)
  set(text "#pragma once\n// Made by cmake/CermetCatalog.cmake from the lists in the headers.\n\n${includes}\n\nnamespace cermet {\n\n")
  foreach(suffix alias IN ZIP_LISTS suffixes aliases)
    string(APPEND text "using ${alias} = Join<${lists_${suffix}}>;\n")
  endforeach()
  string(APPEND text "\n}  // namespace cermet\n")
  file(CONFIGURE OUTPUT ${CERMET_GENERATED_DIR}/catalog/${file} CONTENT "${text}" @ONLY)
endfunction()

cermet_write_catalog(operators.h "Operators;Fusions" "Catalog;Fusions")
cermet_write_catalog(kernels.h "Kernels" "Kernels")
