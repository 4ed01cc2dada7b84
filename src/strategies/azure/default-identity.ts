type Environment = Readonly<Record<string, string | undefined>>

const PROOFS = ['AZURE_CLIENT_SECRET', 'AZURE_CLIENT_CERTIFICATE_PATH', 'AZURE_PASSWORD'] as const
type Proof = (typeof PROOFS)[number]

/** The credential that `azure_credential=default` selects here. */
export type DefaultIdentity =
  | {
      /** A service principal, or a person by password: `proof` is the variable that holds its secret. */
      readonly kind: 'environment'
      readonly clientId: string
      readonly tenantId: string
      readonly proof: Proof
    }
  | {
      readonly kind: 'workload_identity'
      readonly clientId: string
      readonly tenantId: string
      readonly tokenFilePath: string
    }
  | { readonly kind: 'managed_identity'; readonly clientId: string }
  /** Nothing is named: the whole of DefaultAzureCredential. */
  | { readonly kind: 'chain' }
  /** An identity is named, and its proof is missing. */
  | { readonly kind: 'incomplete'; readonly by: 'client_id' | 'environment'; readonly message: string }

/**
 * Picks the one credential of DefaultAzureCredential that belongs to the identity which the record or the environment
 * names. The chain itself would go on to the machine's identity, or to the person who is signed in to a command line
 * tool, wherever that one credential is incomplete.
 */
export function defaultIdentity(
  options: {
    readonly client_id?: string | undefined
    readonly tenant_id?: string | undefined
    /** Beside `client_id`: the same identity, whichever kind it turns out to be. */
    readonly managed_identity_client_id?: string | undefined
  },
  environment: Environment,
): DefaultIdentity {
  const { AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE: tokenFilePath } = environment
  const named = options.client_id
  const clientId = named ?? AZURE_CLIENT_ID
  const tenantId = options.tenant_id ?? AZURE_TENANT_ID
  if (named === undefined && choosesItself(environment)) return { kind: 'chain' }
  const proof = PROOFS.find((name) => environment[name])
  // A proof that stands beside another client id belongs to that id.
  if (proof !== undefined && (!AZURE_CLIENT_ID || clientId === AZURE_CLIENT_ID)) {
    const missing = [
      clientId ? undefined : 'AZURE_CLIENT_ID',
      tenantId ? undefined : 'AZURE_TENANT_ID',
      proof !== 'AZURE_PASSWORD' || environment.AZURE_USERNAME ? undefined : 'AZURE_USERNAME',
    ].filter((name) => name !== undefined)
    if (clientId && tenantId && missing.length === 0) return { kind: 'environment', clientId, tenantId, proof }
    return incomplete(`The environment sets ${proof}, but not ${missing.join(' and ')}`)
  }
  if (tokenFilePath) {
    if (clientId && tenantId) return { kind: 'workload_identity', clientId, tenantId, tokenFilePath }
    return incomplete(
      `The environment sets AZURE_FEDERATED_TOKEN_FILE, but not ${clientId ? 'AZURE_TENANT_ID' : 'AZURE_CLIENT_ID'}`,
    )
  }
  if (options.managed_identity_client_id !== undefined) {
    return { kind: 'managed_identity', clientId: options.managed_identity_client_id }
  }
  if (named !== undefined) {
    return {
      kind: 'incomplete',
      by: 'client_id',
      message:
        'names an application, and nothing proves it: give client_secret, client_certificate_path or federated_token_file; a managed identity is named by managed_identity_client_id',
    }
  }
  if (AZURE_CLIENT_ID && AZURE_TENANT_ID) {
    return incomplete(
      'The environment sets AZURE_CLIENT_ID and AZURE_TENANT_ID, but none of AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH and AZURE_FEDERATED_TOKEN_FILE',
    )
  }
  return AZURE_CLIENT_ID ? { kind: 'managed_identity', clientId: AZURE_CLIENT_ID } : { kind: 'chain' }
}

/** AZURE_TOKEN_CREDENTIALS names a credential, or a shorter chain, of DefaultAzureCredential's own. */
function choosesItself({ AZURE_TOKEN_CREDENTIALS: chosen = '' }: Environment): boolean {
  return !['', 'prod'].includes(chosen.trim().toLowerCase())
}

function incomplete(message: string): DefaultIdentity {
  return { kind: 'incomplete', by: 'environment', message }
}
