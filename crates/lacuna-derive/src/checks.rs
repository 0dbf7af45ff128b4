//! The proofs: code that does nothing and compiles only if the implementation's claims are true.
//!
//! Let `S` be the type, `S'` the same type at another scope, `F` a field of `S` as written and `f: F₁` and `f': F₂` that
//! field as the compiler sees it in `S` and in `S'`.
//!
//! * `F₁ = F`, so `trace` asked the right type whether it needs tracing.
//! * A traced field has `F₂ = F::At<'any_scope>`, so each part of `S'` is what the core, or a derive before this one, says
//!   may stand in for that part of `S`. An edge of a fixed scope, `Gc<'static, X>` above all, fails here: its `At`
//!   moves and the field does not.
//! * A skipped field has `F₁ = F₂: 'static`: nothing in it depends on the scope, so nothing in it came out of a scope.
//! * `S` does not implement `Drop`, if it may hold edges.
//!
//! Nothing is proved by way of a name that the program could give another meaning, `::core` included: what is needed
//! beyond the language itself is reached through the `Trace` that is being implemented.
//!
//! Equality is exact, including lifetimes: fields are compared behind `&mut`, and a type is taken from the field before
//! anything is expected of it, since an expectation would let a `Deref` coercion answer for another type.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Generics;

use crate::expand::{at_field, binding, pattern};
use crate::parse::{Field, Kind, Subject};

pub(crate) fn checks(subject: &Subject, generics: &Generics) -> TokenStream {
    let refuse_drop = subject.may_hold_edges().then(|| refuse_drop(subject, generics));
    let follow = fields_follow_the_brand(subject, generics);
    quote! {
        const _: () = {
            #refuse_drop
            #follow
        };
    }
}

/// If the type implements `Drop`, this conflicts with the core's implementation for such types, and the error names the
/// trait. That it is the core's trait is proved through `Trace`, wherever the path of the core leads.
fn refuse_drop(subject: &Subject, generics: &Generics) -> TokenStream {
    let Subject { core, ident, .. } = subject;
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #impl_generics #core::__private::TypesWithEdgesMustNotImplementDrop for #ident #ty_generics #where_clause {
            type Answer = #core::__private::DoesNotDrop;
        }
    }
}

fn fields_follow_the_brand(subject: &Subject, generics: &Generics) -> TokenStream {
    let Subject { core, ident, other_scope, .. } = subject;
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let arms = subject.variants.iter().map(|variant| {
        let stored = pattern(variant, "stored", |_| true);
        let moved = pattern(variant, "moved", |_| true);
        let proofs = variant.fields.iter().enumerate().map(|(index, field)| proof(subject, index, field));
        quote!((#stored, #moved) => { #(#proofs)* })
    });
    let rest = (subject.variants.len() != 1).then(|| quote!(_ => {}));
    let no_drop = subject.may_hold_edges().then(|| quote!(<Self as #core::Trace>::__does_not_drop();));
    quote! {
        trait FieldsFollowTheBrand: #core::Trace {
            fn fields_follow_the_brand<#other_scope>(stored: &mut Self, moved: &mut Self::At<#other_scope>);
        }
        #[automatically_derived]
        impl #impl_generics FieldsFollowTheBrand for #ident #ty_generics #where_clause {
            fn fields_follow_the_brand<#other_scope>(stored: &mut Self, moved: &mut Self::At<#other_scope>) {
                struct Exactly<F>(fn(F) -> F);
                fn type_of<F>(_: &mut F) -> Exactly<F> { Exactly(|field| field) }
                fn is<F>(_: Exactly<F>) {}
                fn is_the_same_at_every_scope<F: 'static>(_: Exactly<F>, _: Exactly<F>) {}
                #no_drop
                match (stored, moved) { #(#arms)* #rest }
            }
        }
    }
}

fn proof(subject: &Subject, index: usize, Field { ty, kind, .. }: &Field) -> TokenStream {
    let Subject { core, other_scope, .. } = subject;
    let (stored, moved) = (binding("stored", index, ty), binding("moved", index, ty));
    let demand = match kind {
        Kind::Traced => quote_spanned! {at_field(ty)=>
            is::<#ty>(#stored);
            is::<<#ty as #core::Trace>::At<#other_scope>>(#moved);
        },
        Kind::Skipped => {
            quote_spanned!(at_field(ty)=> is_the_same_at_every_scope(#stored, #moved);)
        }
        Kind::Phantom => quote_spanned! {at_field(ty)=>
            <Self as #core::Trace>::__is_phantom(#stored.0);
            <Self as #core::Trace>::__is_phantom(#moved.0);
        },
    };
    quote_spanned! {at_field(ty)=>
        let (#stored, #moved) = (type_of(#stored), type_of(#moved));
        #demand
    }
}
