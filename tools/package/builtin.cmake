# cmake -DMODULES=FILE;... -DROOT=FOLDER -DOUTPUT=FILE.c -P builtin.cmake: writes Lua modules below ROOT as C,
# for bindings/builtin.h.

set(arrays "")
set(rows "")
set(number 0)
foreach(file IN LISTS MODULES)
  file(RELATIVE_PATH path "${ROOT}" "${file}")
  string(REGEX REPLACE "(/init)?[.]lua$" "" module "${path}")
  string(REPLACE "/" "." module "${module}")
  file(READ "${file}" bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(APPEND arrays "static const unsigned char module_${number}[] = {${bytes}0};\n")
  string(APPEND rows "    {\"${module}\", \"@${path}\", module_${number}, "
    "sizeof module_${number} - 1},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE "${OUTPUT}" "#include \"builtin.h\"\n\n${arrays}
const neapL__builtin neapL__builtins[] = {\n${rows}    {0}};\n")
