// The same as bench/echo.lua with Node.
const server = require('net').createServer({ noDelay: true }, conn => {
  conn.on('data', data => conn.write(data));
  conn.on('error', () => {});
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => {
  console.log(`port ${server.address().port}`);
});
