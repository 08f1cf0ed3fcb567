mod broken;
mod commands;
mod resolving;
mod server;
mod session;
mod trust;
