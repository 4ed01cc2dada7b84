/** XML namespaces of WS-Trust and what belongs to it, and what its two versions say differently. */

export const WSDL = 'http://schemas.xmlsoap.org/wsdl/'
export const SOAP_BINDING = 'http://schemas.xmlsoap.org/wsdl/soap12/'
export const POLICY = 'http://schemas.xmlsoap.org/ws/2004/09/policy'
export const HTTP_POLICY = 'http://schemas.microsoft.com/ws/06/2004/policy/http'
export const UTILITY = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd'
export const ADDRESSING = 'http://www.w3.org/2005/08/addressing'
export const SOAP = 'http://www.w3.org/2003/05/soap-envelope'

/** WS-Trust 1.3 (OASIS), and the one of February 2005 that came before it. */
export const TRUST = {
  '1.3': {
    namespace: 'http://docs.oasis-open.org/ws-sx/ws-trust/200512',
    action: 'http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue',
    issue: 'http://docs.oasis-open.org/ws-sx/ws-trust/200512/Issue',
    bearer: 'http://docs.oasis-open.org/ws-sx/ws-trust/200512/Bearer',
  },
  '2005': {
    namespace: 'http://schemas.xmlsoap.org/ws/2005/02/trust',
    action: 'http://schemas.xmlsoap.org/ws/2005/02/trust/RST/Issue',
    issue: 'http://schemas.xmlsoap.org/ws/2005/02/trust/Issue',
    bearer: 'http://schemas.xmlsoap.org/ws/2005/05/identity/NoProofKey',
  },
} as const

export type TrustVersion = keyof typeof TRUST
