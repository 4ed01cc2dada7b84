import { randomUUID } from 'node:crypto'
import { plainWords } from './errors.ts'
import type { TrustEndpoint } from './metadata.ts'
import { ADDRESSING, POLICY, SOAP, TRUST, type TrustVersion } from './namespaces.ts'
import { descendants, elementsIn, escapeXml, find, isNamed, type XmlElement } from './xml.ts'

/** The assertion of a federation service, and the name under which Entra's token endpoint takes it. */
export interface Assertion {
  /** The SAML assertion as it came, to the byte: it is signed. */
  readonly xml: string
  readonly grantType: string
}

/** RFC 7522; what Entra calls SAML 1.1's was never registered. */
const GRANTS: Readonly<Record<string, string>> = {
  'urn:oasis:names:tc:SAML:1.0:assertion': 'urn:ietf:params:oauth:grant-type:saml1_1-bearer',
  'urn:oasis:names:tc:SAML:2.0:assertion': 'urn:ietf:params:oauth:grant-type:saml2-bearer',
}

/**
 * A request for a bearer assertion (WS-Trust 1.3, 4.1: RequestSecurityToken) in SOAP 1.2. It does not name the
 * user: the ticket in HTTP's header does.
 */
export function assertionRequest({ url, version }: TrustEndpoint, audience: string): string {
  const { namespace, action, issue, bearer } = TRUST[version]
  return (
    `<s:Envelope xmlns:s="${SOAP}" xmlns:a="${ADDRESSING}"><s:Header>` +
    `<a:Action s:mustUnderstand="1">${action}</a:Action>` +
    `<a:MessageID>urn:uuid:${randomUUID()}</a:MessageID>` +
    `<a:ReplyTo><a:Address>${ADDRESSING}/anonymous</a:Address></a:ReplyTo>` +
    `<a:To s:mustUnderstand="1">${escapeXml(url.href)}</a:To>` +
    `</s:Header><s:Body><t:RequestSecurityToken xmlns:t="${namespace}">` +
    `<p:AppliesTo xmlns:p="${POLICY}"><a:EndpointReference><a:Address>${escapeXml(audience)}</a:Address>` +
    `</a:EndpointReference></p:AppliesTo>` +
    `<t:KeyType>${bearer}</t:KeyType><t:RequestType>${issue}</t:RequestType>` +
    `</t:RequestSecurityToken></s:Body></s:Envelope>`
  )
}

/**
 * The assertion in an answer; undefined when there is none of a kind that Entra takes. Its kind is its own namespace's:
 * services name the same TokenType in several ways.
 *
 * @param text what `root` was read from
 */
export function assertionIn(root: XmlElement, text: string, version: TrustVersion): Assertion | undefined {
  const found = descendants(root, TRUST[version].namespace, 'RequestedSecurityToken').flatMap(elementsIn)
  for (const element of found) {
    for (const [namespace, grantType] of Object.entries(GRANTS)) {
      if (isNamed(element, namespace, 'Assertion')) return { xml: text.slice(element.start, element.end), grantType }
    }
  }
  return undefined
}

export interface Fault {
  /** The innermost code, without its prefix: `FailedAuthentication`. */
  readonly code: string
  readonly reason: string
  /** The fault is the service's, not the request's. */
  readonly atReceiver: boolean
}

/** The fault, in SOAP's words (SOAP 1.2 Part 1, 5.4). */
export function faultIn(root: XmlElement): Fault | undefined {
  const [fault] = find(root, [SOAP, 'Body'], [SOAP, 'Fault'])
  if (fault === undefined) return undefined
  const code: readonly [string, string] = [SOAP, 'Code']
  const value: readonly [string, string] = [SOAP, 'Value']
  const words = (elements: XmlElement[]): string => plainWords(elements[0]?.text ?? '')
  const outer = words(find(fault, code, value)).replace(/^.*:/, '')
  const inner = words(find(fault, code, [SOAP, 'Subcode'], value)).replace(/^.*:/, '')
  return {
    code: inner || outer || 'unknown',
    reason: words(find(fault, [SOAP, 'Reason'], [SOAP, 'Text'])),
    atReceiver: outer === 'Receiver',
  }
}
