//! Names in tokens: who is mentioned, and the same tokens at another scope.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit_mut::{self, VisitMut};
use syn::{AssocType, Error, Lifetime, Type, TypePath, parse_quote_spanned, spanned::Spanned};

use crate::parse::Subject;

/// Whether an identifier that `wanted` accepts occurs in `tokens`, other than as the later part of a path or as the
/// name of a lifetime.
pub(crate) fn mentions_any(tokens: TokenStream, wanted: &dyn Fn(&Ident) -> bool) -> bool {
    let mut path_or_lifetime = false;
    let mut colons = 0;
    for token in tokens {
        match &token {
            TokenTree::Ident(ident) if !path_or_lifetime && wanted(ident) => return true,
            TokenTree::Group(group) if mentions_any(group.stream(), wanted) => return true,
            _ => {}
        }
        colons = if matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ':') { colons + 1 } else { 0 };
        path_or_lifetime = colons == 2 || matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\'');
    }
    false
}

pub(crate) fn mentions_lifetime(tokens: TokenStream, name: &Ident) -> bool {
    let mut after_quote = false;
    for token in tokens {
        match &token {
            TokenTree::Ident(ident) if after_quote && ident == name => return true,
            TokenTree::Group(group) if mentions_lifetime(group.stream(), name) => return true,
            _ => {}
        }
        after_quote = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\'');
    }
    false
}

/// The name of the first macro called in `tokens`.
pub(crate) fn find_macro(tokens: TokenStream) -> Option<Ident> {
    let mut name = None;
    let mut after_bang = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) if after_bang && group.delimiter() != Delimiter::None => {
                return name;
            }
            TokenTree::Group(group) => {
                if let Some(found) = find_macro(Group::stream(&group)) {
                    return Some(found);
                }
                (name, after_bang) = (None, false);
            }
            TokenTree::Ident(ident) => (name, after_bang) = (Some(ident), false),
            TokenTree::Punct(punct) if punct.as_char() == '!' && name.is_some() => {
                after_bang = true;
            }
            _ => (name, after_bang) = (None, false),
        }
    }
    None
}

/// Rewrites what it visits to the other scope: the brand becomes that scope, a type parameter `T` becomes `T::At<'_>`.
pub(crate) struct ToOtherScope<'s> {
    subject: &'s Subject,
    /// What cannot be said about every scope.
    pub(crate) refused: Option<Error>,
}

impl<'s> ToOtherScope<'s> {
    pub(crate) fn new(subject: &'s Subject) -> Self {
        Self { subject, refused: None }
    }
}

impl VisitMut for ToOtherScope<'_> {
    /// The compiler wants a scope named in `Item = ..` to be named by the trait itself, too.
    fn visit_assoc_type_mut(&mut self, binding: &mut AssocType) {
        let here = binding.to_token_stream();
        visit_mut::visit_assoc_type_mut(self, binding);
        if binding.to_token_stream().to_string() != here.to_string() {
            self.refused.get_or_insert(Error::new_spanned(
                here,
                "a traced type cannot demand this of an associated type: it would have to hold at every scope; \
                 move the bound to the impls that need it",
            ));
        }
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if Some(&*lifetime) == self.subject.brand.as_ref() {
            *lifetime = self.subject.other_scope.clone();
        }
    }

    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Type::Path(TypePath { qself: None, path, .. }) = ty
            && let Some(first) = path.segments.first()
            && path.leading_colon.is_none()
            && self.subject.is_param(&first.ident)
        {
            if path.segments.len() > 1 {
                self.refused.get_or_insert(Error::new_spanned(
                    &*path,
                    "name the trait of this associated type, as in `<T as Iterator>::Item`: the bound has to hold for \
                     `T` at every scope",
                ));
                return;
            }
            *ty = at(self.subject, path.to_token_stream());
            return;
        }
        visit_mut::visit_type_mut(self, ty);
    }
}

/// The type parameter `param` at the other scope.
pub(crate) fn at(subject: &Subject, param: TokenStream) -> Type {
    let Subject { core, other_scope, .. } = subject;
    parse_quote_spanned!(param.span()=> <#param as #core::Trace>::At<#other_scope>)
}
