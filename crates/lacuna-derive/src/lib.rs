//! `#[derive(Trace)]`, re-exported and documented with examples as `lacuna::Trace`; use it from there.
//!
//! `Trace` is an unsafe trait, and deriving it is safe. What makes that true, and which file sees to it:
//!
//! * every field that may hold an edge is visited (`expand`);
//! * the type at another scope, `At<'a>`, differs from the type only in the brand, so a value of one may be read
//!   as the other (`expand` states it, `checks` makes the compiler prove it field by field);
//! * no code of the user's runs on a dying object whose edges may already dangle: no `Drop` (`checks`);
//! * what cannot be proved is refused while reading the input, with advice (`parse`).
//!
//! The proofs look at the fields the compiler sees, not at the tokens the derive was given: an attribute macro that
//! rewrites the type afterwards makes them fail instead of making them stale. They name nothing of the core but
//! `Trace` and `Visitor`, so no path override can hollow them out.

mod checks;
mod expand;
mod parse;
mod substitute;

use proc_macro::TokenStream;
use quote::quote;
use syn::{DeriveInput, parse_macro_input};

/// Implements `lacuna::Trace`: tells the collector where a type keeps its edges.
///
/// ```text
/// #[derive(Trace)]
/// struct Node<'gc> {
///     id: u32,
///     next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
///     #[trace(skip)]
///     opened: std::time::Instant,
/// }
/// ```
///
/// Works for structs, tuple structs, unit structs and enums with at most one lifetime parameter, which is the brand
/// of the heap, and any type and const parameters. Each type parameter gets the bound `T: Trace`, and what the
/// type's own declaration demands of `T` is demanded of `T` at every scope.
///
/// # On the type
///
/// * `#[trace(crate = path)]`: where to find the core, if not at `::lacuna`.
/// * `#[trace(recursive)]`: the type contains itself through *other* types without a brand (`Vec`, `Box`), and the
///   compiler reports a cycle when evaluating `NEEDS_TRACE`. The type then counts as one that may hold edges.
///
/// # On a type parameter
///
/// * `#[trace(fixed)]`: the parameter is the same at every scope, and so holds no edge: the type of a hasher, or of what
///   a `Weak` observes. It gets the bound `'static` instead of `Trace`, and may be `?Sized`.
///
/// # On a field
///
/// * `#[trace(skip)]`: the field holds no edge and is not looked at; it needs no `Trace`. Its type must be
///   `'static` and must mention neither the brand nor a type parameter that is not fixed.
///
/// Function pointers are skipped without asking, and `PhantomData` of anything is accepted.
///
/// # What is refused
///
/// * A type with a brand or a type parameter that implements `Drop`: when it runs, the edges may dangle. Keep what
///   needs dropping in a field of its own type, or register a cleanup.
/// * A field whose type is not `Trace`: `Cell` and `RefCell` would be written behind the collector's back (use `GcCell`
///   and `GcRefCell`), foreign types go into `Opaque` or are skipped.
/// * A field whose edges have another brand than the type, `Gc<'static, _>` among them.
/// * Unions, packed layouts, a second lifetime, bounds on the brand, `?Sized` parameters that are not fixed,
///   macros in the type of a field.
#[proc_macro_derive(Trace, attributes(trace))]
pub fn derive_trace(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

fn derive(input: &DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    let subject = parse::Subject::read(input)?;
    let generics = expand::implementation_generics(&subject)?;
    let implementation = expand::implementation(&subject, &generics);
    let checks = checks::checks(&subject, &generics);
    Ok(quote!(#implementation #checks))
}
