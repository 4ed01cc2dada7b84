/** Part of the federation double: signed SAML assertions, as AD FS issues them and Entra accepts them. */

import { createHash, randomUUID, sign, verify } from 'node:crypto'

export type SamlVersion = '1.1' | '2.0'

export interface SamlKeys {
  /** PEM. */
  readonly privateKey: string
  readonly publicKey: string
}

export interface AssertionFacts {
  readonly issuer: string
  readonly audience: string
  readonly upn: string
  readonly displayName: string
}

const DSIG = 'http://www.w3.org/2000/09/xmldsig#'
const EXCLUSIVE = 'http://www.w3.org/2001/10/xml-exc-c14n#'
const UPN_CLAIM = 'http://schemas.xmlsoap.org/claims/UPN'

/**
 * An assertion with an enveloped signature (XML Signature, exclusive canonical form). It is written in canonical form
 * from the start, so the signature covers its text: any changed byte makes the signature invalid.
 */
export function signedAssertion(version: SamlVersion, facts: AssertionFacts, keys: SamlKeys): string {
  const id = `_${randomUUID()}`
  const now = new Date().toISOString()
  const end = new Date(Date.now() + 3_600_000).toISOString()
  const [open, body, tail] = version === '1.1' ? saml11(id, now, end, facts) : saml20(id, now, end, facts)
  const digest = createHash('sha256').update(`${open}${body}${tail}`).digest('base64')
  const info =
    `<ds:CanonicalizationMethod Algorithm="${EXCLUSIVE}"></ds:CanonicalizationMethod>` +
    `<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"></ds:SignatureMethod>` +
    `<ds:Reference URI="#${id}"><ds:Transforms><ds:Transform Algorithm="${DSIG}enveloped-signature"></ds:Transform>` +
    `<ds:Transform Algorithm="${EXCLUSIVE}"></ds:Transform></ds:Transforms>` +
    `<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"></ds:DigestMethod>` +
    `<ds:DigestValue>${digest}</ds:DigestValue></ds:Reference>`
  const value = sign('sha256', Buffer.from(canonicalInfo(info)), keys.privateKey).toString('base64')
  const signature =
    `<ds:Signature xmlns:ds="${DSIG}"><ds:SignedInfo>${info}</ds:SignedInfo>` +
    `<ds:SignatureValue>${value}</ds:SignatureValue></ds:Signature>`
  // SAML 1.1 has the signature at the end, 2.0 after the issuer.
  return version === '1.1' ? `${open}${body}${signature}${tail}` : `${open}${signature}${body}${tail}`
}

function canonicalInfo(info: string): string {
  return `<ds:SignedInfo xmlns:ds="${DSIG}">${info}</ds:SignedInfo>`
}

function saml11(id: string, now: string, end: string, { issuer, audience, upn, displayName }: AssertionFacts) {
  const subject =
    `<saml:Subject><saml:NameIdentifier Format="${UPN_CLAIM}">${upn}</saml:NameIdentifier>` +
    `<saml:SubjectConfirmation><saml:ConfirmationMethod>urn:oasis:names:tc:SAML:1.0:cm:bearer` +
    `</saml:ConfirmationMethod></saml:SubjectConfirmation></saml:Subject>`
  return [
    `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:1.0:assertion" AssertionID="${id}" IssueInstant="${now}" Issuer="${issuer}" MajorVersion="1" MinorVersion="1">`,
    `<saml:Conditions NotBefore="${now}" NotOnOrAfter="${end}"><saml:AudienceRestrictionCondition>` +
      `<saml:Audience>${audience}</saml:Audience></saml:AudienceRestrictionCondition></saml:Conditions>` +
      `<saml:AttributeStatement>${subject}<saml:Attribute AttributeName="UPN" AttributeNamespace="http://schemas.xmlsoap.org/claims">` +
      `<saml:AttributeValue>${upn}</saml:AttributeValue></saml:Attribute>` +
      `<saml:Attribute AttributeName="displayname" AttributeNamespace="http://schemas.xmlsoap.org/claims">` +
      `<saml:AttributeValue>${displayName}</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>` +
      `<saml:AuthenticationStatement AuthenticationInstant="${now}" AuthenticationMethod="urn:federation:authentication:windows">${subject}</saml:AuthenticationStatement>`,
    '</saml:Assertion>',
  ] as const
}

function saml20(id: string, now: string, end: string, { issuer, audience, upn, displayName }: AssertionFacts) {
  return [
    `<Assertion xmlns="urn:oasis:names:tc:SAML:2.0:assertion" ID="${id}" IssueInstant="${now}" Version="2.0"><Issuer>${issuer}</Issuer>`,
    `<Subject><NameID>${upn}</NameID></Subject>` +
      `<Conditions NotBefore="${now}" NotOnOrAfter="${end}"><AudienceRestriction><Audience>${audience}</Audience></AudienceRestriction></Conditions>` +
      `<AttributeStatement><Attribute Name="${UPN_CLAIM}"><AttributeValue>${upn}</AttributeValue></Attribute>` +
      `<Attribute Name="displayname"><AttributeValue>${displayName}</AttributeValue></Attribute></AttributeStatement>`,
    '</Assertion>',
  ] as const
}

/**
 * Checks an assertion as Entra does: signature, time, audience.
 *
 * @returns the user's name @throws Error with the reason
 */
export function verifiedUpn(assertion: string, version: SamlVersion, audience: string, publicKey: string): string {
  const signature = /<ds:Signature xmlns:ds="[^"]*"><ds:SignedInfo>(.*?)<\/ds:SignedInfo>.*?<\/ds:Signature>/s.exec(
    assertion,
  )
  const [whole = '', info = ''] = signature ?? []
  const value = /<ds:SignatureValue>([^<]*)</.exec(whole)?.[1] ?? ''
  const digest = /<ds:DigestValue>([^<]*)</.exec(info)?.[1]
  const actual = createHash('sha256').update(assertion.replace(whole, '')).digest('base64')
  if (digest !== actual) throw new Error('the assertion was changed')
  if (!verify('sha256', Buffer.from(canonicalInfo(info)), publicKey, Buffer.from(value, 'base64'))) {
    throw new Error('the signature is not by the federation service')
  }
  const kind = version === '1.1' ? 'urn:oasis:names:tc:SAML:1.0:assertion' : 'urn:oasis:names:tc:SAML:2.0:assertion'
  if (!assertion.startsWith('<') || !assertion.slice(0, assertion.indexOf('>')).includes(kind)) {
    throw new Error(`the assertion is not of SAML ${version}`)
  }
  if (!assertion.includes(`Audience>${audience}</`)) throw new Error('the assertion is for somebody else')
  if (Date.parse(/NotOnOrAfter="([^"]*)"/.exec(assertion)?.[1] ?? '') <= Date.now()) throw new Error('it is over')
  const upn = /<(?:saml:)?AttributeValue>([^<]*)</.exec(assertion)?.[1]
  if (upn === undefined) throw new Error('it names nobody')
  return upn
}
