--- neap.dns: names and addresses. The operations are written in C; the types are in neap/types.
return require("neap.core").dns
