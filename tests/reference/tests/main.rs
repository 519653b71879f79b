//! Tests the gradients of the f64 reference against central differences, and the integer implementation against the f64
//! reference. The integer implementation is tested at three scales: single kernels, the gradient of one training step,
//! and 200 training steps.

#[path = "../../cases/mod.rs"]
mod cases;
mod central_differences;
mod gradients;
mod kernels;
mod training;
