# Install rules: headers, library, CMake package, pkg-config file, the command and its data.

include(CMakePackageConfigHelpers)

install(TARGETS cermet EXPORT cermet_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(CERMET_CUDA_FOUND)
  install(TARGETS cermet_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(DIRECTORY include/cermet DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT cermet_targets NAMESPACE cermet:: FILE cermet-targets.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cermet)
configure_package_config_file(cmake/cermet-config.cmake.in cermet-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cermet)
write_basic_package_version_file(cermet-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES cmake/FindOneDNN.cmake ${CMAKE_CURRENT_BINARY_DIR}/cermet-config.cmake
        ${CMAKE_CURRENT_BINARY_DIR}/cermet-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cermet)

configure_file(cmake/cermet.pc.in cermet.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/cermet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES LICENSE NOTICE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/cermet)
if(CERMET_BUILD_APPS)
  install(TARGETS cermet_command DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(DIRECTORY data/digits DESTINATION ${CMAKE_INSTALL_DATADIR}/cermet PATTERN "*.py" EXCLUDE)
endif()
