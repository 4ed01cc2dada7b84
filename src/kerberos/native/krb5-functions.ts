import type { KerberosLibraries, Native, NativeType, Out, Pointer } from './load.ts'

/**
 * The functions and structs of libkrb5 that we use, with C's types (MIT's krb5.h, profile.h).
 * All but the freeing ones return krb5's error code, 0 for success.
 */

type Context = Pointer
type Cache = Pointer
type Keytab = Pointer
type Principal = Pointer
type OutPointer = Out<Pointer | null>
/** A struct that we allocate: `krb5_creds`, `krb5_keytab_entry`. */
type Struct = Uint8Array

export interface Krb5Functions {
  readonly initContext: Native<[OutPointer], number>
  readonly freeContext: Native<[Context], void>
  /** Without a context the words are general ones, which need not be freed. */
  readonly getErrorMessage: Native<[Context | null, number], Pointer>
  readonly freeErrorMessage: Native<[Context, Pointer], void>

  readonly parseName: Native<[Context, string, OutPointer], number>
  readonly unparseName: Native<[Context, Principal, OutPointer], number>
  readonly freeUnparsedName: Native<[Context, Pointer], void>
  /** Seconds since the epoch by the KDC's clock, as far as the cache that was opened knows it. */
  readonly timeOfDay: Native<[Context, Out<number>], number>
  readonly freePrincipal: Native<[Context, Principal], void>
  readonly getDefaultRealm: Native<[Context, OutPointer], number>
  readonly freeDefaultRealm: Native<[Context, Pointer], void>

  readonly ccDefault: Native<[Context, OutPointer], number>
  readonly ccResolve: Native<[Context, string, OutPointer], number>
  readonly ccSetDefaultName: Native<[Context, string | null], number>
  readonly ccCacheMatch: Native<[Context, Principal, OutPointer], number>
  readonly ccGetFullName: Native<[Context, Cache, OutPointer], number>
  readonly freeString: Native<[Context, Pointer], void>
  readonly ccGetPrincipal: Native<[Context, Cache, OutPointer], number>
  readonly ccStartSeqGet: Native<[Context, Cache, OutPointer], number>
  readonly ccNextCred: Native<[Context, Cache, OutPointer, Struct], number>
  readonly ccEndSeqGet: Native<[Context, Cache, OutPointer], number>
  readonly ccInitialize: Native<[Context, Cache, Principal], number>
  readonly ccStoreCred: Native<[Context, Cache, Struct], number>
  readonly ccCopyCreds: Native<[Context, Cache, Cache], number>
  readonly ccClose: Native<[Context, Cache], number>
  readonly ccDestroy: Native<[Context, Cache], number>
  readonly freeCredContents: Native<[Context, Struct], void>

  readonly ktResolve: Native<[Context, string, OutPointer], number>
  readonly ktClientDefault: Native<[Context, OutPointer], number>
  readonly ktDefault: Native<[Context, OutPointer], number>
  readonly ktGetName: Native<[Context, Keytab, Uint8Array, number], number>
  readonly ktStartSeqGet: Native<[Context, Keytab, OutPointer], number>
  readonly ktNextEntry: Native<[Context, Keytab, Struct, OutPointer], number>
  readonly ktEndSeqGet: Native<[Context, Keytab, OutPointer], number>
  readonly freeKeytabEntryContents: Native<[Context, Struct], number>
  readonly ktClose: Native<[Context, Keytab], number>
  readonly getPermittedEnctypes: Native<[Context, OutPointer], number>
  readonly freeEnctypes: Native<[Context, Pointer], void>
  readonly enctypeToName: Native<[number, number, Uint8Array, number], number>

  readonly optAlloc: Native<[Context, OutPointer], number>
  readonly optFree: Native<[Context, Pointer], void>
  readonly optSetTktLife: Native<[Pointer, number], void>
  readonly optSetRenewLife: Native<[Pointer, number], void>
  readonly optSetForwardable: Native<[Pointer, number], void>
  /** The service, a text that ends with NUL, is the one that the ticket is for. Null: the ticket-granting service. */
  readonly getInitCredsKeytab: Native<[Context, Struct, Principal, Keytab, number, Uint8Array | null, Pointer], number>
  /** The password is text in UTF-8 that ends with NUL; no prompter. */
  readonly getInitCredsPassword: Native<
    [Context, Struct, Principal, Uint8Array, null, null, number, Uint8Array | null, Pointer],
    number
  >
  readonly snameToPrincipal: Native<[Context, string, string, number, OutPointer], number>
  /** Asks for the ticket of `server` for `client`, and stores it in the cache. */
  readonly getCredentials: Native<[Context, number, Cache, Struct, OutPointer], number>
  readonly freeCreds: Native<[Context, Pointer], void>
  readonly getRenewedCreds: Native<[Context, Struct, Principal, Cache, null], number>

  readonly getProfile: Native<[Context, OutPointer], number>
  readonly profileGetValues: Native<[Pointer, readonly (string | null)[], OutPointer], number>
  readonly profileFreeList: Native<[Pointer], void>
  readonly profileRelease: Native<[Pointer], void>

  readonly sizes: { readonly creds: number; readonly keytabEntry: number }
  /** A question for a ticket. */
  readonly encodeCreds: (question: Pick<RawCreds, 'client' | 'server'>) => Struct
  readonly decodeCreds: (bytes: Struct) => RawCreds
  readonly decodeKeytabEntry: (bytes: Struct) => RawKeytabEntry
  readonly text: (pointer: Pointer) => string
  /** A list of numbers that ends with 0. */
  readonly numbers: (list: Pointer) => number[]
  /** A NULL-terminated list of strings. */
  readonly texts: (list: Pointer) => string[]
}

export interface RawCreds {
  readonly client: Pointer
  readonly server: Pointer
  readonly keyblock: { readonly enctype: number }
  /** Seconds since the epoch, unsigned: good until 2106. */
  readonly authtime: number
  readonly starttime: number
  readonly endtime: number
  readonly renew_till: number
  readonly ticket_flags: number
  /** In DER. */
  readonly ticket: { readonly length: number; readonly data: Pointer }
}

export interface RawKeytabEntry {
  readonly principal: Pointer
  readonly timestamp: number
  readonly vno: number
  readonly key: { readonly enctype: number }
}

export function krb5Functions({ koffi, krb5 }: KerberosLibraries): Krb5Functions {
  const keyblock = koffi.struct({ magic: 'int32_t', enctype: 'int32_t', length: 'uint32_t', contents: 'void *' })
  const data = koffi.struct({ magic: 'int32_t', length: 'uint32_t', data: 'void *' })
  const creds = koffi.struct({
    magic: 'int32_t',
    client: 'void *',
    server: 'void *',
    keyblock,
    authtime: 'uint32_t',
    starttime: 'uint32_t',
    endtime: 'uint32_t',
    renew_till: 'uint32_t',
    is_skey: 'uint32_t',
    ticket_flags: 'int32_t',
    addresses: 'void *',
    ticket: data,
    second_ticket: data,
    authdata: 'void *',
  })
  const keytabEntry = koffi.struct({
    magic: 'int32_t',
    principal: 'void *',
    timestamp: 'uint32_t',
    vno: 'uint32_t',
    key: keyblock,
  })

  const object = 'void *'
  const struct = 'void *'
  const out = koffi.out(koffi.pointer('void *'))
  const inout = koffi.inout(koffi.pointer('void *'))
  const text = 'const char *'
  const of = <Args extends readonly unknown[], Result>(
    name: string,
    types: NativeType[],
    result: 'int' | 'void' | 'void *' = 'int',
  ): Native<Args, Result> => krb5.func(name, result, types) as unknown as Native<Args, Result>

  return {
    initContext: of('krb5_init_context', [out]),
    freeContext: of('krb5_free_context', [object], 'void'),
    getErrorMessage: of('krb5_get_error_message', [object, 'int'], 'void *'),
    freeErrorMessage: of('krb5_free_error_message', [object, object], 'void'),

    parseName: of('krb5_parse_name', [object, text, out]),
    unparseName: of('krb5_unparse_name', [object, object, out]),
    freeUnparsedName: of('krb5_free_unparsed_name', [object, object], 'void'),
    timeOfDay: of('krb5_timeofday', [object, koffi.out(koffi.pointer('uint32_t'))]),
    freePrincipal: of('krb5_free_principal', [object, object], 'void'),
    getDefaultRealm: of('krb5_get_default_realm', [object, out]),
    freeDefaultRealm: of('krb5_free_default_realm', [object, object], 'void'),

    ccDefault: of('krb5_cc_default', [object, out]),
    ccResolve: of('krb5_cc_resolve', [object, text, out]),
    ccSetDefaultName: of('krb5_cc_set_default_name', [object, text]),
    ccCacheMatch: of('krb5_cc_cache_match', [object, object, out]),
    ccGetFullName: of('krb5_cc_get_full_name', [object, object, out]),
    freeString: of('krb5_free_string', [object, object], 'void'),
    ccGetPrincipal: of('krb5_cc_get_principal', [object, object, out]),
    ccStartSeqGet: of('krb5_cc_start_seq_get', [object, object, out]),
    ccNextCred: of('krb5_cc_next_cred', [object, object, inout, struct]),
    ccEndSeqGet: of('krb5_cc_end_seq_get', [object, object, inout]),
    ccInitialize: of('krb5_cc_initialize', [object, object, object]),
    ccStoreCred: of('krb5_cc_store_cred', [object, object, struct]),
    ccCopyCreds: of('krb5_cc_copy_creds', [object, object, object]),
    ccClose: of('krb5_cc_close', [object, object]),
    ccDestroy: of('krb5_cc_destroy', [object, object]),
    freeCredContents: of('krb5_free_cred_contents', [object, struct], 'void'),

    ktResolve: of('krb5_kt_resolve', [object, text, out]),
    ktClientDefault: of('krb5_kt_client_default', [object, out]),
    ktDefault: of('krb5_kt_default', [object, out]),
    ktGetName: of('krb5_kt_get_name', [object, object, 'void *', 'uint32_t']),
    ktStartSeqGet: of('krb5_kt_start_seq_get', [object, object, out]),
    ktNextEntry: of('krb5_kt_next_entry', [object, object, struct, inout]),
    ktEndSeqGet: of('krb5_kt_end_seq_get', [object, object, inout]),
    freeKeytabEntryContents: of('krb5_free_keytab_entry_contents', [object, struct]),
    ktClose: of('krb5_kt_close', [object, object]),
    getPermittedEnctypes: of('krb5_get_permitted_enctypes', [object, out]),
    freeEnctypes: of('krb5_free_enctypes', [object, object], 'void'),
    enctypeToName: of('krb5_enctype_to_name', ['int32_t', 'uint32_t', 'void *', 'size_t']),

    optAlloc: of('krb5_get_init_creds_opt_alloc', [object, out]),
    optFree: of('krb5_get_init_creds_opt_free', [object, object], 'void'),
    optSetTktLife: of('krb5_get_init_creds_opt_set_tkt_life', [object, 'int32_t'], 'void'),
    optSetRenewLife: of('krb5_get_init_creds_opt_set_renew_life', [object, 'int32_t'], 'void'),
    optSetForwardable: of('krb5_get_init_creds_opt_set_forwardable', [object, 'int'], 'void'),
    getInitCredsKeytab: of('krb5_get_init_creds_keytab', [object, struct, object, object, 'int32_t', 'void *', object]),
    getInitCredsPassword: of('krb5_get_init_creds_password', [
      object,
      struct,
      object,
      'void *',
      'void *',
      'void *',
      'int32_t',
      'void *',
      object,
    ]),
    snameToPrincipal: of('krb5_sname_to_principal', [object, text, text, 'int32_t', out]),
    getCredentials: of('krb5_get_credentials', [object, 'int32_t', object, struct, out]),
    freeCreds: of('krb5_free_creds', [object, object], 'void'),
    getRenewedCreds: of('krb5_get_renewed_creds', [object, struct, object, object, 'void *']),

    getProfile: of('krb5_get_profile', [object, out]),
    profileGetValues: of('profile_get_values', [object, 'const char **', out]),
    profileFreeList: of('profile_free_list', [object], 'void'),
    profileRelease: of('profile_release', [object], 'void'),

    sizes: { creds: koffi.sizeof(creds), keytabEntry: koffi.sizeof(keytabEntry) },
    encodeCreds: (question) => {
      const bytes = Buffer.alloc(koffi.sizeof(creds))
      koffi.encode(bytes, creds, question)
      return bytes
    },
    decodeCreds: (bytes) => koffi.decode(bytes, creds) as RawCreds,
    decodeKeytabEntry: (bytes) => koffi.decode(bytes, keytabEntry) as RawKeytabEntry,
    text: (pointer) => koffi.decode.string(pointer),
    numbers: (list) => {
      const values: number[] = []
      for (let offset = 0; ; offset += 4) {
        const value: number = koffi.decode(list, offset, 'int32_t')
        if (value === 0) return values
        values.push(value)
      }
    },
    texts: (list) => {
      const values: string[] = []
      for (let offset = 0; ; offset += koffi.sizeof('void *')) {
        const pointer: Pointer | null = koffi.decode(list, offset, 'void *')
        if (pointer === null || pointer === 0n) return values
        values.push(koffi.decode.string(pointer))
      }
    },
  }
}
