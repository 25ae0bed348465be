# libunet-cuda.so, the back end of GPUs: docs/gpu.md. Built where nvcc and a host compiler that it
# takes are found; everything else does without.
if(NOT UNET_CUDA OR UNET_SANITIZE)
    return()
endif()
find_program(UNET_NVCC nvcc HINTS $ENV{CUDA_PATH}/bin $ENV{CUDA_HOME}/bin PATHS /usr/local/cuda/bin)
mark_as_advanced(UNET_NVCC)
if(NOT UNET_NVCC)
    message(STATUS "no nvcc: libunet-cuda.so is not built")
    return()
endif()
set(CMAKE_CUDA_ARCHITECTURES 80) # what the check compiles for; targets have their own
if(NOT CMAKE_CUDA_COMPILER)
    if(NOT DEFINED ENV{CUDACXX})
        set(ENV{CUDACXX} ${UNET_NVCC})
    endif()
    include(CheckLanguage)
    check_language(CUDA)
endif()
if(NOT CMAKE_CUDA_COMPILER)
    message(STATUS "${UNET_NVCC} does not work here: libunet-cuda.so is not built")
    return()
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
set(UNET_HAS_CUDA TRUE)

set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
set(cuda_folder ${PROJECT_SOURCE_DIR}/src/kernels/cuda)
file(GLOB cuda_host CONFIGURE_DEPENDS ${cuda_folder}/*.c)
# cuDNN's kernels are candidates where its headers were: it is looked for when libunet-cuda.so runs.
find_path(UNET_CUDNN_INCLUDE cudnn_graph.h HINTS ${CUDAToolkit_INCLUDE_DIRS} $ENV{CUDNN_PATH}/include)
mark_as_advanced(UNET_CUDNN_INCLUDE)
if(NOT UNET_CUDNN_INCLUDE)
    message(STATUS "no cudnn_graph.h: libunet-cuda.so is built without cuDNN's kernels")
    list(FILTER cuda_host EXCLUDE REGEX "/cudnn_[a-z]*\\.c$")
endif()
file(GLOB cuda_portable CONFIGURE_DEPENDS ${cuda_folder}/*.cu)
file(GLOB cuda_hopper CONFIGURE_DEPENDS ${cuda_folder}/*_sm90a.cu)
list(REMOVE_ITEM cuda_portable ${cuda_hopper})

function(add_cuda_objects name architectures)
    add_library(${name} OBJECT ${ARGN})
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/include
        ${PROJECT_SOURCE_DIR}/src)
    target_compile_options(${name} PRIVATE -Werror=all-warnings)
    set_target_properties(${name} PROPERTIES CUDA_ARCHITECTURES "${architectures}"
        POSITION_INDEPENDENT_CODE ON)
endfunction()

add_cuda_objects(cuda-portable "${UNET_CUDA_ARCHITECTURES}" ${cuda_portable})
set(cuda_objects $<TARGET_OBJECTS:cuda-portable>)
# Instructions of Hopper alone, which no later GPU has.
if(cuda_hopper)
    add_cuda_objects(cuda-hopper 90a-real ${cuda_hopper})
    list(APPEND cuda_objects $<TARGET_OBJECTS:cuda-hopper>)
endif()

# What it needs of libunet it has a copy of: messages, memory, helpers of kernels.
add_library(cuda-base STATIC $<TARGET_OBJECTS:unet-base> ${PROJECT_SOURCE_DIR}/src/kernels/kernel.c
    ${PROJECT_SOURCE_DIR}/src/kernels/byte_weights.c ${PROJECT_SOURCE_DIR}/src/kernels/conv_pack.c)
target_include_directories(cuda-base PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)

add_library(unet-cuda SHARED ${cuda_host} ${cuda_objects})
target_include_directories(unet-cuda PRIVATE ${PROJECT_SOURCE_DIR}/include
    ${PROJECT_SOURCE_DIR}/src)
target_include_directories(unet-cuda SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
if(UNET_CUDNN_INCLUDE)
    target_include_directories(unet-cuda SYSTEM PRIVATE ${UNET_CUDNN_INCLUDE})
    target_compile_definitions(unet-cuda PRIVATE UNET_HAS_CUDNN)
endif()
target_link_libraries(unet-cuda PRIVATE cuda-base CUDA::cudart_static PkgConfig::XXHASH
    Threads::Threads m ${CMAKE_DL_LIBS})
target_link_options(unet-cuda PRIVATE -Wl,--exclude-libs,ALL -Wl,--as-needed -Wl,--no-undefined)
set_target_properties(unet-cuda PROPERTIES LINKER_LANGUAGE C CUDA_RESOLVE_DEVICE_SYMBOLS OFF
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
install(TARGETS unet-cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
