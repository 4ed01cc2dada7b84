/** Part of the federation double: the WS-MetadataExchange document, in the form that AD FS sends. */

const NAMESPACES = [
  'xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/"',
  'xmlns:soap12="http://schemas.xmlsoap.org/wsdl/soap12/"',
  'xmlns:tns="http://schemas.microsoft.com/ws/2008/06/identity/securitytokenservice"',
  'xmlns:wsa10="http://www.w3.org/2005/08/addressing"',
  'xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy"',
  'xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"',
].join(' ')
const SECURITY_POLICY = {
  '2005': 'http://schemas.xmlsoap.org/ws/2005/07/securitypolicy',
  '13': 'http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702',
} as const
const ACTION = {
  '2005': 'http://schemas.xmlsoap.org/ws/2005/02/trust/RST/Issue',
  '13': 'http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue',
} as const

export interface EndpointWish {
  readonly version: '2005' | '13'
  readonly kind: 'windowstransport' | 'usernamemixed' | 'certificatemixed'
  /** Default: https. */
  readonly scheme?: string
}

export const ALL_ENDPOINTS: readonly EndpointWish[] = (['2005', '13'] as const).flatMap((version) =>
  (['windowstransport', 'certificatemixed', 'usernamemixed'] as const).map((kind) => ({ version, kind })),
)

/** @param authority host and port */
export function metadataDocument(authority: string, endpoints: readonly EndpointWish[] = ALL_ENDPOINTS): string {
  const parts = endpoints.map((endpoint) => ({
    ...endpoint,
    name: `${endpoint.kind}_IWSTrust${endpoint.version}Async`,
  }))
  const policies = parts.map(
    ({ version, kind, name }) =>
      `<wsp:Policy wsu:Id="${name}_policy"><wsp:ExactlyOne><wsp:All>${asserted(kind, version)}</wsp:All></wsp:ExactlyOne></wsp:Policy>`,
  )
  const bindings = parts.map(
    ({ version, name }) =>
      `<wsdl:binding name="${name}" type="tns:IWSTrust"><wsp:PolicyReference URI="#${name}_policy"/>` +
      `<soap12:binding transport="http://schemas.xmlsoap.org/soap/http"/><wsdl:operation name="TrustIssueAsync">` +
      `<soap12:operation soapAction="${ACTION[version]}" style="document"/><wsdl:input><soap12:body use="literal"/></wsdl:input>` +
      `<wsdl:output><soap12:body use="literal"/></wsdl:output></wsdl:operation></wsdl:binding>`,
  )
  const ports = parts.map(({ version, kind, name, scheme = 'https' }) => {
    const address = `${scheme}://${authority}/adfs/services/trust/${version}/${kind}`
    return (
      `<wsdl:port name="${name}" binding="tns:${name}"><soap12:address location="${address}"/>` +
      `<wsa10:EndpointReference><wsa10:Address>${address}</wsa10:Address></wsa10:EndpointReference></wsdl:port>`
    )
  })
  return (
    `<?xml version="1.0" encoding="utf-8"?>\r\n<wsdl:definitions name="SecurityTokenService" ${NAMESPACES}>\r\n` +
    `${[...policies, ...bindings].join('\r\n')}\r\n` +
    `<wsdl:service name="SecurityTokenService">${ports.join('\r\n')}</wsdl:service></wsdl:definitions>`
  )
}

function asserted(kind: EndpointWish['kind'], version: EndpointWish['version']): string {
  // MSAL for Python looks for the Windows endpoints only under the older policy namespace.
  const sp = `xmlns:sp="${SECURITY_POLICY[kind === 'windowstransport' ? '2005' : version]}"`
  const transport = `<sp:TransportBinding ${sp}><wsp:Policy><sp:TransportToken><wsp:Policy><sp:HttpsToken RequireClientCertificate="false"/></wsp:Policy></sp:TransportToken></wsp:Policy></sp:TransportBinding>`
  if (kind === 'windowstransport') {
    return `<http:NegotiateAuthentication xmlns:http="http://schemas.microsoft.com/ws/06/2004/policy/http"/>${transport}`
  }
  const [supporting, token] =
    kind === 'certificatemixed'
      ? ['EndorsingSupportingTokens', '<sp:X509Token><wsp:Policy><sp:WssX509V3Token10/></wsp:Policy></sp:X509Token>']
      : [
          version === '13' ? 'SignedEncryptedSupportingTokens' : 'SignedSupportingTokens',
          '<sp:UsernameToken><wsp:Policy><sp:WssUsernameToken10/></wsp:Policy></sp:UsernameToken>',
        ]
  return `${transport}<sp:${supporting} ${sp}><wsp:Policy>${token}</wsp:Policy></sp:${supporting}>`
}
