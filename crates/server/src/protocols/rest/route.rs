//! How a route of `/api/v1` is registered: who may, what it takes and gives, and what answers it.

use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use muster_api::types::Page;
use muster_ca::operator::{Permission, Role};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::Api;
use crate::gate;

/// The methods of `/api/v1`. `Get` changes nothing; the others take `dry_run=true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Make or change.
    Post,
    /// Remove.
    Delete,
}

impl Method {
    /// As it stands in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// What a route needs of whoever comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The API key of an operator with this permission, or a local user.
    Permission(Permission),
    /// An enrolment token, in the body.
    Token,
    /// The device's certificate, in the TLS handshake.
    Certificate,
    /// Nothing.
    Nothing,
}

impl Needs {
    /// The roles that have it.
    pub fn roles(self) -> Vec<Role> {
        let all = [Role::Admin, Role::Operator, Role::Viewer, Role::Auditor];
        let given = |role: &Role| match self {
            Self::Permission(permission) => permission.is_given_to(*role),
            Self::Token | Self::Certificate | Self::Nothing => false,
        };
        all.into_iter().filter(given).collect()
    }
}

/// Makes the schema of a type.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What a route answers.
#[derive(Clone, Copy)]
pub(super) enum Gives {
    /// This, as JSON.
    Json(Shape),
    /// A page of rows as JSON, and all rows as JSON lines or CSV.
    List { page: Shape, row: Shape },
    /// A file.
    File,
    /// The description of the API itself.
    Document,
}

/// One method of one path; the path is below `/api/v1`.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) needs: Needs,
    /// What it does, in a sentence.
    pub(super) does: &'static str,
    pub(super) query: Option<Shape>,
    /// The body, and an example of it.
    pub(super) body: Option<(Shape, &'static str)>,
    pub(super) gives: Gives,
    pub(super) handler: fn() -> MethodRouter<Api>,
}

impl Route {
    pub(super) const fn get(
        path: &'static str,
        permission: Permission,
        does: &'static str,
        handler: fn() -> MethodRouter<Api>,
    ) -> Self {
        Self {
            method: Method::Get,
            path,
            needs: Needs::Permission(permission),
            does,
            query: None,
            body: None,
            gives: Gives::Document,
            handler,
        }
    }

    pub(super) const fn post(
        path: &'static str,
        permission: Permission,
        does: &'static str,
        handler: fn() -> MethodRouter<Api>,
    ) -> Self {
        Self {
            method: Method::Post,
            ..Self::get(path, permission, does, handler)
        }
    }

    pub(super) const fn delete(
        path: &'static str,
        permission: Permission,
        does: &'static str,
        handler: fn() -> MethodRouter<Api>,
    ) -> Self {
        Self {
            method: Method::Delete,
            ..Self::get(path, permission, does, handler)
        }
    }

    /// The route with its gate in front.
    pub(super) fn build(&self, api: &Api) -> MethodRouter<Api> {
        let handler = (self.handler)();
        match self.needs {
            Needs::Permission(permission) => {
                handler.route_layer(from_fn_with_state((api.clone(), permission), gate::judge))
            }
            Needs::Token | Needs::Certificate | Needs::Nothing => handler,
        }
    }

    /// Who may is somebody else than an operator.
    pub(super) const fn needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    /// The parameters behind the question mark.
    pub(super) const fn asks<T: JsonSchema>(self) -> Self {
        Self {
            query: Some(T::json_schema),
            ..self
        }
    }

    /// The body, with an example that works.
    pub(super) const fn takes<T: JsonSchema>(self, example: &'static str) -> Self {
        Self {
            body: Some((shape::<T>, example)),
            ..self
        }
    }

    /// The answer.
    pub(super) const fn gives<T: JsonSchema>(self) -> Self {
        Self {
            gives: Gives::Json(shape::<T>),
            ..self
        }
    }

    /// The answer is a file.
    pub(super) const fn sends_file(self) -> Self {
        Self {
            gives: Gives::File,
            ..self
        }
    }

    /// The answer is a list of these.
    pub(super) const fn lists<T: JsonSchema>(self) -> Self {
        let (page, row): (Shape, Shape) = (shape::<Page<T>>, shape::<T>);
        Self {
            gives: Gives::List { page, row },
            ..self
        }
    }
}

fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
