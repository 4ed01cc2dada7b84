/** The facts that an error names. The native libraries name few of them in their texts. */
export interface KerberosFacts {
  readonly principal?: string | undefined
  /** The cache's full name, `FILE:/tmp/krb5cc_1000`. */
  readonly cache?: string | undefined
  /** The principal of the cache, where that is another one. */
  readonly owner?: string | undefined
  readonly keytab?: string | undefined
  /** The principals in the keytab. */
  readonly keytabPrincipals?: readonly string[] | undefined
  /** The encryption types of its keys for the principal. */
  readonly keytabTypes?: readonly string[] | undefined
  /** The version of the newest key in the keytab for the principal. */
  readonly kvno?: number | undefined
  /** The service as it was asked for. */
  readonly spn?: string | undefined
  /** The principal of the service, as the KDC was asked for it. */
  readonly service?: string | undefined
  /** True when the server has reported the error, and not the KDC. */
  readonly fromServer?: boolean | undefined
  readonly realm?: string | undefined
  /** `127.0.0.1:88`, as krb5.conf names them. */
  readonly kdcs?: readonly string[] | undefined
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number | undefined
  readonly minimumLifetimeSeconds?: number | undefined
}

/** The realm of `alice@EXAMPLE.COM`. A backslash quotes the character behind it. */
export function realmIn(principal: string | undefined): string | undefined {
  return principal === undefined ? undefined : /(?<!\\)@(.+)$/.exec(principal)?.[1]
}

/** The names in the library's own words: the realm whose KDC was asked, and the principal of the service. */
export function factsIn(text: string): KerberosFacts {
  const realm = /\bKDC for realm ['"]([^'"]+)['"]/.exec(text)?.[1]
  const service = /^Server (\S+) not found in Kerberos database/.exec(text)?.[1]
  return {
    ...(realm === undefined ? {} : { realm }),
    ...(service === undefined ? {} : { service, realm: realmIn(service) }),
  }
}
