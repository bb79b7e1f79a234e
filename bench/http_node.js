// A web server of Node. Prints its port.
const server = require("http").createServer((request, response) => {
  response.writeHead(200, { "Content-Type": "text/plain; charset=utf-8", "Content-Length": 13 });
  response.end("Hello, World!");
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => {
  console.log("port " + server.address().port);
});
