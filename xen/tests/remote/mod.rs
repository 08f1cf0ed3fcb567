mod conformance;
mod console;
mod cuts;
mod gate;
mod nonsense;
mod pipe;
mod together;
mod uploads;
