mod games;
mod moves;
mod samples;
mod sizes;
mod word_programs;
