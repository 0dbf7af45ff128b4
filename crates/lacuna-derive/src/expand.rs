//! The implementation: `At`, `NEEDS_TRACE` and `trace`.
//!
//! It claims; `checks` proves. The only claim nobody else checks is made here: the patterns in `trace` list every field
//! and have no `..`, so a field the derive has not seen does not compile.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::visit_mut::VisitMut;
use syn::{
    GenericParam, Generics, PredicateType, Result, Type, TypeParamBound, WhereClause, WherePredicate, parse_quote,
    spanned::Spanned,
};

use crate::parse::{Field, Kind, Subject, Variant};
use crate::substitute::{ToOtherScope, at};

pub(crate) fn implementation(subject: &Subject, generics: &Generics) -> TokenStream {
    let Subject { core, ident, other_scope, visitor, .. } = subject;
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let (_, ty_generics, _) = subject.generics.split_for_impl();
    let at = arguments_at_other_scope(subject);
    let needs_trace = needs_trace(subject);
    let body = trace_body(subject);
    quote! {
        #[automatically_derived]
        unsafe impl #impl_generics #core::Trace for #ident #ty_generics #where_clause {
            type At<#other_scope> = #ident #at;
            const NEEDS_TRACE: bool = #needs_trace;
            #[inline(always)]
            fn trace<#visitor: #core::Visitor>(&self, visitor: &mut #visitor) {
                #body
            }
        }
    }
}

/// The declared generics, with what the implementation demands in addition: each type parameter is `Trace` and lives
/// as long as the brand, and each declared bound holds at every scope, or `At` would not be well-formed.
pub(crate) fn implementation_generics(subject: &Subject) -> Result<Generics> {
    let core = &subject.core;
    let mut generics = subject.generics.clone();
    for param in generics.type_params_mut().filter(|param| subject.is_param(&param.ident)) {
        param.bounds.push(parse_quote!(#core::Trace));
        param.bounds.extend(subject.brand.iter().cloned().map(TypeParamBound::Lifetime));
    }
    let everywhere = bounds_at_every_scope(subject)?;
    if !everywhere.is_empty() {
        let clause = generics
            .where_clause
            .get_or_insert(WhereClause { where_token: Default::default(), predicates: Default::default() });
        clause.predicates.extend(everywhere);
    }
    Ok(generics)
}

fn bounds_at_every_scope(subject: &Subject) -> Result<Vec<WherePredicate>> {
    let declared = &subject.generics;
    let mut found: Vec<WherePredicate> = Vec::new();
    for param in declared.type_params() {
        let ident = &param.ident;
        let bounds: Vec<_> = param.bounds.iter().filter(|bound| !is_implied(bound, subject)).collect();
        if !bounds.is_empty() {
            found.push(parse_quote!(#ident: #(#bounds)+*));
        }
    }
    for predicate in declared.where_clause.iter().flat_map(|clause| &clause.predicates) {
        let WherePredicate::Type(predicate) = predicate else {
            continue;
        };
        let PredicateType { lifetimes, bounded_ty, bounds, .. } = predicate;
        let bounds: Vec<_> =
            bounds.iter().filter(|bound| !is_param(bounded_ty, subject) || !is_implied(bound, subject)).collect();
        if !bounds.is_empty() {
            found.push(parse_quote!(#lifetimes #bounded_ty: #(#bounds)+*));
        }
    }
    let mut elsewhere = Vec::new();
    for mut predicate in found {
        let here = predicate.to_token_stream().to_string();
        let mut rewrite = ToOtherScope::new(subject);
        rewrite.visit_where_predicate_mut(&mut predicate);
        if let Some(error) = rewrite.refused {
            return Err(error);
        }
        if predicate.to_token_stream().to_string() == here {
            continue;
        }
        if let WherePredicate::Type(predicate) = &mut predicate {
            let other_scope = &subject.other_scope;
            let lifetimes = predicate.lifetimes.get_or_insert_with(|| parse_quote!(for<>));
            lifetimes.lifetimes.insert(0, parse_quote!(#other_scope));
        }
        elsewhere.push(predicate);
    }
    Ok(elsewhere)
}

/// Bounds that `Trace` itself promises for `T::At<'_>`.
fn is_implied(bound: &TypeParamBound, subject: &Subject) -> bool {
    match bound {
        TypeParamBound::Trait(bound) => {
            bound.path.segments.last().is_some_and(|segment| segment.ident == "Trace" || segment.ident == "Sized")
        }
        TypeParamBound::Lifetime(lifetime) => Some(lifetime) == subject.brand.as_ref(),
        _ => false,
    }
}

fn is_param(ty: &Type, subject: &Subject) -> bool {
    matches!(ty, Type::Path(ty) if ty.path.get_ident().is_some_and(|ident| subject.is_param(ident)))
}

fn arguments_at_other_scope(subject: &Subject) -> TokenStream {
    let arguments = subject.generics.params.iter().map(|param| match param {
        GenericParam::Lifetime(_) => subject.other_scope.to_token_stream(),
        GenericParam::Type(param) if subject.fixed.contains(&param.ident) => param.ident.to_token_stream(),
        GenericParam::Type(param) => at(subject, param.ident.to_token_stream()).to_token_stream(),
        GenericParam::Const(param) => param.ident.to_token_stream(),
    });
    quote!(<#(#arguments),*>)
}

fn needs_trace(subject: &Subject) -> TokenStream {
    let core = &subject.core;
    let traced =
        || subject.variants.iter().flat_map(|variant| &variant.fields).filter(|field| field.kind == Kind::Traced);
    // Asking a type that contains this one would ask in a circle. One that mentions the brand is about to say yes anyway.
    if subject.is_recursive
        || traced().any(|field| subject.mentions_brand(&field.ty) || subject.mentions_itself(&field.ty))
    {
        return quote!(true);
    }
    let types: Vec<&Type> = traced().map(|field| &field.ty).collect();
    if types.is_empty() { quote!(false) } else { quote!(#(<#types as #core::Trace>::NEEDS_TRACE)||*) }
}

fn trace_body(subject: &Subject) -> TokenStream {
    let core = &subject.core;
    if subject.variants.is_empty() {
        return quote!(match *self {});
    }
    let arms = subject.variants.iter().map(|variant| {
        let pattern = pattern(variant, "field", |field| field.kind == Kind::Traced);
        let visits = variant.fields.iter().enumerate().filter(|(_, field)| field.kind == Kind::Traced).map(
            |(index, Field { ty, .. })| {
                let field = binding("field", index, ty);
                quote_spanned! {at_field(ty)=>
                    if <#ty as #core::Trace>::NEEDS_TRACE {
                        <#ty as #core::Trace>::trace(#field, visitor);
                    }
                }
            },
        );
        quote!(#pattern => { #(#visits)* })
    });
    quote!(match self { #(#arms)* })
}

/// A pattern that names every field of the variant and binds those that are `wanted`.
pub(crate) fn pattern(
    Variant { path, fields }: &Variant,
    prefix: &str,
    wanted: impl Fn(&Field) -> bool,
) -> TokenStream {
    let bindings = fields.iter().enumerate().map(|(index, field)| {
        let member = &field.member;
        let binding = if wanted(field) { binding(prefix, index, &field.ty).to_token_stream() } else { quote!(_) };
        quote!(#member: #binding)
    });
    quote!(#path { #(#bindings),* })
}

pub(crate) fn binding(prefix: &str, index: usize, ty: &Type) -> Ident {
    format_ident!("{prefix}_{index}", span = Span::mixed_site().located_at(ty.span()))
}

/// The derive's own tokens, reported as if written at the field's type.
pub(crate) fn at_field(ty: &Type) -> Span {
    Span::call_site().located_at(ty.span())
}
