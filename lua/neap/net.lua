--- neap.net: TCP. The operations are written in C; the types are in neap/types.
return require("neap.core").net
