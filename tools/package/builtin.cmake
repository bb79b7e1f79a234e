# cmake -DMODULES=FILE;... -DOUTPUT=FILE.c -P builtin.cmake: writes the Lua modules as C, bindings/builtin.h.

set(arrays "")
set(rows "")
set(number 0)
foreach(file IN LISTS MODULES)
  get_filename_component(base "${file}" NAME_WE)
  set(module "neap.${base}")
  if(base STREQUAL "init")
    set(module "neap")
  endif()
  file(READ "${file}" bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(APPEND arrays "static const unsigned char module_${number}[] = {${bytes}0};\n")
  string(APPEND rows "    {\"${module}\", \"@neap/${base}.lua\", module_${number}, "
    "sizeof module_${number} - 1},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE "${OUTPUT}" "#include \"builtin.h\"\n\n${arrays}
const neapL__builtin neapL__builtins[] = {\n${rows}    {0}};\n")
