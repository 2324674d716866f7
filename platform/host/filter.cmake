# The seccomp programs, made with libseccomp at build time (gen/filter_gen.cc).
find_library(SECCOMP_LIBRARY NAMES libseccomp.a REQUIRED)
add_executable(host_filter_gen platform/host/gen/filter_gen.cc)
target_link_libraries(host_filter_gen PRIVATE ${SECCOMP_LIBRARY})
set(host_filters ${CMAKE_BINARY_DIR}/generated/host_filters.inc)
add_custom_command(OUTPUT ${host_filters}
                   COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/generated
                   COMMAND sh -c "$<TARGET_FILE:host_filter_gen> > ${host_filters}"
                   DEPENDS host_filter_gen VERBATIM)
add_custom_target(host_filters_inc DEPENDS ${host_filters})
add_dependencies(platform_host host_filters_inc)
set_source_files_properties(platform/host/filter.cc PROPERTIES OBJECT_DEPENDS ${host_filters}
                            INCLUDE_DIRECTORIES ${CMAKE_BINARY_DIR}/generated)
