// Exponentials that are looked up in the kernel's `tables`.

// 2^(30 − below / 2^20): an exponential in Q30 of a score that is `below` the maximum, in Q20.
fn exponential_of(below: u32) -> u32 {
    let index = exponential_index(below);
    return exponential_between(tables[index], tables[index + 1u], below);
}
