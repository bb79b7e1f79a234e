--- neap.signal: signals of the process. Written in C; the types are in neap/types.
return require("neap.core").signal
