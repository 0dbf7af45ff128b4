//! What must not compile does not, for the reason given; what must compile does.
//!
//! `TRYBUILD=overwrite cargo test -p lacuna-derive` writes the messages anew. They come from one compiler version:
//! read the difference before keeping it.

#[test]
fn derive_refuses() {
    trybuild::TestCases::new().compile_fail("tests/refusals/derive/*.rs");
}

#[test]
fn core_refuses() {
    trybuild::TestCases::new().compile_fail("tests/refusals/core/*.rs");
}

#[test]
fn derive_accepts() {
    trybuild::TestCases::new().pass("tests/accepted/*.rs");
}
