# Warnings, hardening and sanitizers, once for every target of ours (target cordon_options).
add_library(cordon_options INTERFACE)
target_compile_features(cordon_options INTERFACE cxx_std_23)
target_include_directories(cordon_options INTERFACE ${PROJECT_SOURCE_DIR})
option(CORDON_WERROR "Treat warnings as errors" OFF)
option(CORDON_FUZZ "Build libFuzzer targets (clang 19)" OFF)
set(CORDON_SANITIZE "" CACHE STRING "Value of -fsanitize=, empty for none")

target_compile_options(cordon_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor
  -Woverloaded-virtual -Wmissing-declarations -Wformat=2 -Wundef -Wimplicit-fallthrough -Wswitch-enum
  $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-cond -Wlogical-op -Wno-missing-field-initializers
    -Wno-restrict>  # GCC 12 at -O3 warns about std::string's own code (PR 105651)
  $<$<CXX_COMPILER_ID:Clang>:-Wno-missing-designated-field-initializers -Wno-missing-field-initializers
    -Wno-gnu-statement-expression-from-macro-expansion
    -Wno-deprecated-declarations>  # libstdc++ 12's stable_sort uses what it deprecates itself
  $<$<BOOL:${CORDON_WERROR}>:-Werror>
  -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=zero
  -fno-delete-null-pointer-checks)
target_compile_definitions(cordon_options INTERFACE _GLIBCXX_ASSERTIONS)
target_link_options(cordon_options INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
include(CheckPIESupported)
check_pie_supported()

if(CORDON_SANITIZE)
  # The vptr check probes memory through a pipe, which the filters of our processes forbid: it would fail there always.
  target_compile_options(cordon_options INTERFACE
    -fsanitize=${CORDON_SANITIZE} -fno-sanitize=vptr -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(cordon_options INTERFACE -fsanitize=${CORDON_SANITIZE})
  target_compile_definitions(cordon_options INTERFACE CORDON_SANITIZED=1)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Between the checks it cannot follow what std::variant and std::optional hold; the release build still warns.
    target_compile_options(cordon_options INTERFACE -Wno-maybe-uninitialized)
  endif()
  if(CORDON_SANITIZE MATCHES thread AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(cordon_options INTERFACE -Wno-array-bounds)  # GCC 12, of its own algorithms
  endif()
elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  # What an optimizer makes of undefined behaviour is no vulnerability twice: aliasing and overflow keep their plain
  # meaning here, where the sanitizers, which look for both, are not. A return leaves no values in registers to build on.
  target_compile_options(cordon_options INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
    -fno-strict-aliasing -fno-strict-overflow -fzero-call-used-regs=used-gpr)
endif()
if(CORDON_FUZZ)
  target_compile_options(cordon_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
