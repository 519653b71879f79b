mod games;
mod moves;
mod samples;
mod sizes;
mod tapes;
