/** The messages of WS-Trust in SOAP 1.2: the faults of a request, and envelopes. */

import type { IncomingMessage } from 'node:http'
import { parseXml, XmlElement } from '@rgrove/parse-xml'

export const AUDIENCE = 'urn:federation:MicrosoftOnline'
export const TRUST = {
  '13': 'http://docs.oasis-open.org/ws-sx/ws-trust/200512',
  '2005': 'http://schemas.xmlsoap.org/ws/2005/02/trust',
} as const
export const SOAP = 'http://www.w3.org/2003/05/soap-envelope'

export function elementsOf(node: { readonly children: readonly unknown[] }): XmlElement[] {
  return node.children.flatMap((child) => (child instanceof XmlElement ? [child, ...elementsOf(child)] : []))
}

/** The faults of a request under WS-Trust, WS-Addressing and SOAP 1.2. MSAL's requests must pass too. */
export function requestProblem(
  body: string,
  address: string,
  version: '13' | '2005',
  headers: IncomingMessage['headers'],
): string | undefined {
  const root = parseXml(body).root
  if (root === null || root.attributes['xmlns:s'] !== SOAP || root.name !== 's:Envelope')
    return 'no envelope of SOAP 1.2'
  const all = elementsOf(root)
  const text = (name: string, nth = 0): string | undefined =>
    all.filter((each) => each.name.replace(/^.*:/, '') === name)[nth]?.text.trim()
  const request = all.find((each) => each.name.endsWith(':RequestSecurityToken'))
  const action = `${TRUST[version]}/RST/Issue`
  const addresses = all.filter((each) => each.name.endsWith(':Address')).map((each) => each.text.trim())
  const problems = {
    'Content-Type': !headers['content-type']?.startsWith('application/soap+xml'),
    SOAPAction: headers.soapaction !== action,
    Action: text('Action') !== action,
    MessageID: !/^urn:uuid:[\da-f-]{36}$/.test(text('MessageID') ?? ''),
    To: text('To') !== address,
    ReplyTo: addresses[0] !== 'http://www.w3.org/2005/08/addressing/anonymous',
    AppliesTo: addresses[1] !== AUDIENCE,
    RequestType: text('RequestType') !== `${TRUST[version]}/Issue`,
    KeyType:
      text('KeyType') !==
      (version === '13' ? `${TRUST['13']}/Bearer` : 'http://schemas.xmlsoap.org/ws/2005/05/identity/NoProofKey'),
    RequestSecurityToken: !Object.values(request?.attributes ?? {}).includes(TRUST[version]),
  }
  const wrong = Object.entries(problems).filter(([, is]) => is)
  return wrong.length === 0 ? undefined : `not as it should be: ${wrong.map(([name]) => name).join(', ')}`
}

export function fault(code: string, reason: string, sort: 'Sender' | 'Receiver' = 'Sender'): string {
  return (
    `<s:Fault><s:Code><s:Value>s:${sort}</s:Value><s:Subcode>` +
    `<s:Value xmlns:a="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd">a:${code}</s:Value>` +
    `</s:Subcode></s:Code><s:Reason><s:Text xml:lang="en-US">${reason}</s:Text></s:Reason></s:Fault>`
  )
}

export function envelope(body: string): string {
  return `<s:Envelope xmlns:s="${SOAP}"><s:Body>${body}</s:Body></s:Envelope>`
}
