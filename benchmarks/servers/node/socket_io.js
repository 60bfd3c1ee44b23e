// Socket.IO: a message to a room goes to all its members. `node socket_io.js PORT`
import { createServer } from "node:http";
import { Server } from "socket.io";

const server = createServer();
const io = new Server(server, { transports: ["websocket"] });

// https://socket.io/docs/v4/memory-usage/: otherwise the request of the handshake is kept.
io.engine.on("connection", (raw) => {
  raw.request = null;
});

io.on("connection", (socket) => {
  socket.on("join", (room, done) => {
    socket.join(room);
    done();
  });
  socket.on("message", (message) => {
    io.to(message.room).emit("message", message);
  });
});

server.listen(Number(process.argv[2]), "127.0.0.1");
