import { errorText } from '../../../any-error.ts'
import { federationError } from './errors.ts'
import { ask, statusFailure, type Web } from './https.ts'
import { ADDRESSING, HTTP_POLICY, POLICY, SOAP_BINDING, TRUST, type TrustVersion, UTILITY, WSDL } from './namespaces.ts'
import { attributeOf, descendants, find, type XmlElement, type XmlReader } from './xml.ts'

/** The endpoint at which a federation service issues assertions for a Kerberos ticket. */
export interface TrustEndpoint {
  readonly url: URL
  readonly version: TrustVersion
}

/** Reads a federation service's metadata (WS-MetadataExchange) for the endpoint that takes a ticket. */
export async function discoverEndpoint(metadataUrl: URL, read: XmlReader, web: Web): Promise<TrustEndpoint> {
  const step = 'metadata'
  const subject = `The metadata of the federation service could not be had from ${metadataUrl.host}`
  const question = { step, subject, url: metadataUrl } as const
  const answer = await ask(question, web)
  if (answer.status !== 200) throw statusFailure(question, answer)
  let endpoints: TrustEndpoint[]
  try {
    endpoints = ticketEndpoints(read(answer.text))
  } catch (cause) {
    throw federationError('FEDERATION_FAILED', `${subject}: ${errorText(cause)}.`, {
      step,
      hint: `See what answers at ${metadataUrl.host}; AD FS has its metadata at /adfs/services/trust/mex.`,
      cause,
    })
  }
  const endpoint = endpoints.find(({ version }) => version === '1.3') ?? endpoints[0]
  if (endpoint !== undefined) return endpoint
  throw federationError('FEDERATION_NO_ENDPOINT', `${metadataUrl.host} has no https endpoint that takes a ticket.`, {
    step,
    hint: 'Have /adfs/services/trust/13/windowstransport enabled in AD FS. It serves the internal network only: the proxy of AD FS does not publish it.',
  })
}

/**
 * The endpoints over https whose policy is HTTP's Negotiate, by WSDL 1.1 with WS-Policy: a port names its binding,
 * the binding its policy and the action of its operation.
 */
export function ticketEndpoints(root: XmlElement): TrustEndpoint[] {
  const policies = new Set(
    descendants(root, POLICY, 'Policy')
      .filter((policy) => {
        const path = [POLICY, 'ExactlyOne'] as const
        return find(policy, path, [POLICY, 'All'], [HTTP_POLICY, 'NegotiateAuthentication']).length > 0
      })
      .map((policy) => `#${attributeOf(policy, UTILITY, 'Id')}`),
  )
  const bindings = new Map<string, TrustVersion>()
  for (const binding of descendants(root, WSDL, 'binding')) {
    if (!find(binding, [POLICY, 'PolicyReference']).some(({ attributes }) => policies.has(attributes.URI ?? ''))) {
      continue
    }
    const actions = find(binding, [WSDL, 'operation'], [SOAP_BINDING, 'operation']).map(
      (at) => at.attributes.soapAction,
    )
    for (const version of ['1.3', '2005'] as const) {
      if (actions.includes(TRUST[version].action)) bindings.set(binding.attributes.name ?? '', version)
    }
  }
  return descendants(root, WSDL, 'port').flatMap((port) => {
    const version = bindings.get((port.attributes.binding ?? '').replace(/^.*:/, ''))
    const [address] = find(port, [ADDRESSING, 'EndpointReference'], [ADDRESSING, 'Address'])
    const text = address?.text.trim() ?? ''
    if (version === undefined || !URL.canParse(text)) return []
    const url = new URL(text)
    return url.protocol === 'https:' ? [{ url, version }] : []
  })
}
