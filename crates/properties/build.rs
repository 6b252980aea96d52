//! Compiles the corpus in anew when a file of it comes or goes.

fn main() {
    println!("cargo::rerun-if-changed=../../fuzz/corpus");
}
