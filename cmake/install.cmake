# cmake --install: libraries, header, program, a CMake package (find_package(unet): unet::unet,
# unet::runtime and their static twins) and pkg-config files (unet, unet-runtime).
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/unet)
set_target_properties(unet-shared PROPERTIES EXPORT_NAME unet)
set_target_properties(unet-static PROPERTIES EXPORT_NAME unet-static)
set_target_properties(unet-runtime PROPERTIES EXPORT_NAME runtime)
set_target_properties(unet-runtime-static PROPERTIES EXPORT_NAME runtime-static)

install(TARGETS unet-shared unet-static unet-runtime unet-runtime-static EXPORT unet-targets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS unet RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES include/unet.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT unet-targets NAMESPACE unet:: DESTINATION ${package_dir})

configure_package_config_file(cmake/unet-config.cmake.in ${PROJECT_BINARY_DIR}/unet-config.cmake
    INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/unet-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/unet-config.cmake ${PROJECT_BINARY_DIR}/unet-config-version.cmake
    DESTINATION ${package_dir})

# Libs.private names what our static libraries call, not the closure of their .pc files: Debian's
# libzip.pc asks a static link for libraries that libzip-dev does not bring.
function(install_pkgconfig name description)
    set(pc_name ${name})
    set(pc_description ${description})
    set(pc_private)
    foreach(package IN LISTS ARGN)
        list(APPEND pc_private ${${package}_LDFLAGS})
    endforeach()
    list(REMOVE_DUPLICATES pc_private)
    string(JOIN " " pc_private ${pc_private})
    file(RELATIVE_PATH pc_up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
    string(REGEX REPLACE "/$" "" pc_up ${pc_up})
    configure_file(cmake/unet.pc.in ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
    install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()
set(runtime_packages PNG JPEG TIFF XXHASH)
install_pkgconfig(unet "Runs trained U-Nets: reads checkpoints, builds and runs engines"
    ${runtime_packages} LIBZIP ZLIB JANSSON)
install_pkgconfig(unet-runtime "Runs engines that libunet has built" ${runtime_packages})
