--- neap.fs.watch: changes of files and directories. Written in C; the types are in neap/types.
return require("neap.core").watch
