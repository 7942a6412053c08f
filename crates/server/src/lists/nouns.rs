//! What every list has, whatever its rows are: so that one piece of code pages, exports and describes them all.

use std::future::Future;
use std::sync::Arc;

use jiff::Timestamp;
use muster_api::types as api;
use muster_ca::list::{
    AuditList, BrokerList, CertificateList, DeviceList, OperatorList, Page, Paging, ProfileList,
    ProvisionerList, TokenList,
};
use muster_ca::{Ca, Error, Proof};
use serde::de::DeserializeOwned;

use super::rows::{self, Row};
use super::{
    AuditQuery, BrokerQuery, CertificateQuery, DeviceQuery, OperatorQuery, ProfileQuery, ProvisionerQuery,
    TokenQuery,
};

/// The parameters with which a list is asked for.
pub(crate) trait Listing: DeserializeOwned + Send + 'static {
    /// The path below `/api/v1`, and what a file of it is called.
    const NOUN: &'static str;
    /// What one types for it.
    const COMMAND: &'static str;
    /// The parameters that narrow or order it; the command line has each as an option.
    const PARAMETERS: &'static [&'static str];
    /// What is asked of the authority.
    type List: Clone + Send + 'static;
    /// What it shows.
    type Row: Row;

    /// Reads the parameters.
    fn list(&self, now: Timestamp) -> Result<Self::List, Error>;
    /// How it shall be written.
    fn format(&self) -> Option<&str>;
    /// Which page of it.
    fn paging(list: &mut Self::List) -> &mut Paging;
    /// A page.
    fn page(
        ca: Arc<Ca>,
        proof: Proof,
        list: Self::List,
    ) -> impl Future<Output = Result<Page<Self::Row>, Error>> + Send;
}

impl Listing for CertificateQuery {
    const NOUN: &'static str = "certificates";
    const COMMAND: &'static str = "muster cert list";
    const PARAMETERS: &'static [&'static str] = &[
        "status",
        "expires_within",
        "q",
        "device",
        "profile",
        "authority",
        "how",
        "issued_from",
        "issued_until",
        "expires_from",
        "expires_until",
        "sort",
    ];
    type List = CertificateList;
    type Row = api::Certificate;

    fn list(&self, now: Timestamp) -> Result<CertificateList, Error> {
        self.wish(now)
    }

    fn format(&self) -> Option<&str> {
        self.format.as_deref()
    }

    fn paging(list: &mut CertificateList) -> &mut Paging {
        &mut list.paging
    }

    async fn page(ca: Arc<Ca>, proof: Proof, list: CertificateList) -> Result<Page<Self::Row>, Error> {
        let now = list.now;
        let found = ca.certificates(proof, list).await?;
        Ok(found.map(|record| rows::certificate(&record, now)))
    }
}

impl Listing for DeviceQuery {
    const NOUN: &'static str = "devices";
    const COMMAND: &'static str = "muster device list";
    const PARAMETERS: &'static [&'static str] = &["q", "state", "kind", "profile", "sort"];
    type List = DeviceList;
    type Row = api::Device;

    fn list(&self, _now: Timestamp) -> Result<DeviceList, Error> {
        self.wish()
    }

    fn format(&self) -> Option<&str> {
        self.format.as_deref()
    }

    fn paging(list: &mut DeviceList) -> &mut Paging {
        &mut list.paging
    }

    async fn page(ca: Arc<Ca>, proof: Proof, list: DeviceList) -> Result<Page<Self::Row>, Error> {
        let found = ca.devices(proof, list).await?;
        Ok(found.map(|record| rows::device(&record, Vec::new())))
    }
}

impl Listing for TokenQuery {
    const NOUN: &'static str = "tokens";
    const COMMAND: &'static str = "muster token list";
    const PARAMETERS: &'static [&'static str] = &["q", "status", "profile", "sort"];
    type List = TokenList;
    type Row = api::Token;

    fn list(&self, now: Timestamp) -> Result<TokenList, Error> {
        self.wish(now)
    }

    fn format(&self) -> Option<&str> {
        self.format.as_deref()
    }

    fn paging(list: &mut TokenList) -> &mut Paging {
        &mut list.paging
    }

    async fn page(ca: Arc<Ca>, proof: Proof, list: TokenList) -> Result<Page<Self::Row>, Error> {
        let now = list.now;
        let refusals = ca.token_refusals(proof.clone()).await?;
        let found = ca.tokens(proof, list).await?;
        Ok(found.map(|record| rows::token(&record, &refusals, now)))
    }
}

impl Listing for AuditQuery {
    const NOUN: &'static str = "audit";
    const COMMAND: &'static str = "muster audit list";
    const PARAMETERS: &'static [&'static str] = &["actor", "action", "subject", "from", "until", "sort"];
    type List = AuditList;
    type Row = api::AuditEntry;

    fn list(&self, _now: Timestamp) -> Result<AuditList, Error> {
        self.wish()
    }

    fn format(&self) -> Option<&str> {
        self.format.as_deref()
    }

    fn paging(list: &mut AuditList) -> &mut Paging {
        &mut list.paging
    }

    async fn page(ca: Arc<Ca>, proof: Proof, list: AuditList) -> Result<Page<Self::Row>, Error> {
        Ok(ca.audit(proof, list).await?.map(rows::entry))
    }
}

impl Listing for OperatorQuery {
    const NOUN: &'static str = "operators";
    const COMMAND: &'static str = "muster user list";
    const PARAMETERS: &'static [&'static str] = &["q", "role", "sort"];
    type List = OperatorList;
    type Row = api::Operator;

    fn list(&self, _now: Timestamp) -> Result<OperatorList, Error> {
        self.wish()
    }

    fn format(&self) -> Option<&str> {
        self.format.as_deref()
    }

    fn paging(list: &mut OperatorList) -> &mut Paging {
        &mut list.paging
    }

    async fn page(ca: Arc<Ca>, proof: Proof, list: OperatorList) -> Result<Page<Self::Row>, Error> {
        let found = ca.operators(proof, list).await?;
        Ok(found.map(|record| rows::operator(&record)))
    }
}

impl Listing for BrokerQuery {
    const NOUN: &'static str = "brokers";
    const COMMAND: &'static str = "muster broker list";
    const PARAMETERS: &'static [&'static str] = &["q", "state", "program", "sort"];
    type List = BrokerList;
    type Row = api::Broker;

    fn list(&self, _now: Timestamp) -> Result<BrokerList, Error> {
        self.wish()
    }

    fn format(&self) -> Option<&str> {
        self.format.as_deref()
    }

    fn paging(list: &mut BrokerList) -> &mut Paging {
        &mut list.paging
    }

    async fn page(ca: Arc<Ca>, proof: Proof, list: BrokerList) -> Result<Page<Self::Row>, Error> {
        Ok(ca.brokers(proof, list).await?.map(rows::broker))
    }
}

impl Listing for ProvisionerQuery {
    const NOUN: &'static str = "provisioners";
    const COMMAND: &'static str = "muster ca provisioner list";
    const PARAMETERS: &'static [&'static str] = &["q", "profile", "sort"];
    type List = ProvisionerList;
    type Row = api::Provisioner;

    fn list(&self, _now: Timestamp) -> Result<ProvisionerList, Error> {
        self.wish()
    }

    fn format(&self) -> Option<&str> {
        self.format.as_deref()
    }

    fn paging(list: &mut ProvisionerList) -> &mut Paging {
        &mut list.paging
    }

    async fn page(ca: Arc<Ca>, _proof: Proof, list: ProvisionerList) -> Result<Page<Self::Row>, Error> {
        Ok(ca
            .list_provisioners(&list)?
            .map(|record| rows::provisioner(&record)))
    }
}

impl Listing for ProfileQuery {
    const NOUN: &'static str = "profiles";
    const COMMAND: &'static str = "muster ca profile";
    const PARAMETERS: &'static [&'static str] = &["q", "kind", "sort"];
    type List = ProfileList;
    type Row = api::Profile;

    fn list(&self, _now: Timestamp) -> Result<ProfileList, Error> {
        self.wish()
    }

    fn format(&self) -> Option<&str> {
        self.format.as_deref()
    }

    fn paging(list: &mut ProfileList) -> &mut Paging {
        &mut list.paging
    }

    async fn page(ca: Arc<Ca>, _proof: Proof, list: ProfileList) -> Result<Page<Self::Row>, Error> {
        Ok(ca.list_profiles(&list)?.map(|record| rows::profile(&record)))
    }
}
