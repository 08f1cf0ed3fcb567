mod commands;
mod server;
