//! Tests of the f64 reference against central differences, and of the integer implementation against the reference:
//! they cover each kernel, the gradient of a step, and two hundred training steps.

#[path = "../../cases/mod.rs"]
mod cases;
mod central_differences;
mod gradients;
mod kernels;
mod training;
