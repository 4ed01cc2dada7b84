import type { KerberosLibraries, Koffi, Native, NativeType, Out, Pointer } from './load.ts'

/**
 * The functions of libgssapi_krb5 that we call, with C's types (RFC 2744; `gssapi_ext.h` for credential stores).
 * Declared without type names, since koffi's names are global and an application may load koffi too.
 */

export interface NativeBuffer {
  length: number
  value: Uint8Array | Pointer | null
}

/** gss_channel_bindings_struct (RFC 2744 3.11). */
export interface ChannelBindings {
  initiatorType: number
  initiator: NativeBuffer
  acceptorType: number
  acceptor: NativeBuffer
  application: NativeBuffer
}

interface NativeOid {
  length: number
  elements: Uint8Array
}

export interface NativeOidSet {
  count: number
  elements: readonly NativeOid[]
}

export interface CredentialStore {
  count: number
  elements: readonly { key: string; value: string }[]
}

/** Every function returns the major status and hands out the minor status first. */
type Minor = Out<number>

export interface GssFunctions {
  readonly acquireCredFrom: Native<
    [Minor, Pointer | null, number, NativeOidSet, number, CredentialStore | null, Out<Pointer | null>, null, null],
    number
  >
  readonly inquireCred: Native<[Minor, Pointer | null, Out<Pointer | null>, Out<number>, null, null], number>
  readonly releaseCred: Native<[Minor, Out<Pointer | null>], number>
  readonly exportCred: Native<[Minor, Pointer | null, NativeBuffer], number>
  readonly importCred: Native<[Minor, NativeBuffer, Out<Pointer | null>], number>
  /** The credential, its usage, mechanism, whether to overwrite and to make it the default, the store. */
  readonly storeCredInto: Native<
    [Minor, Pointer | null, number, NativeOid, number, number, CredentialStore, null, null],
    number
  >
  readonly importName: Native<[Minor, NativeBuffer, NativeOid, Out<Pointer | null>], number>
  readonly displayName: Native<[Minor, Pointer, NativeBuffer, null], number>
  readonly releaseName: Native<[Minor, Out<Pointer | null>], number>
  readonly initSecContext: Native<
    [
      Minor,
      Pointer | null,
      Out<Pointer | null>,
      Pointer | null,
      NativeOid,
      number,
      number,
      ChannelBindings | null,
      NativeBuffer | null,
      null,
      NativeBuffer,
      Out<number>,
      null,
    ],
    number
  >
  readonly inquireContext: Native<
    [Minor, Pointer, Out<Pointer | null>, Out<Pointer | null>, Out<number>, null, Out<number>, null, null],
    number
  >
  /** Frees the context. */
  readonly exportSecContext: Native<[Minor, Out<Pointer | null>, NativeBuffer], number>
  readonly importSecContext: Native<[Minor, NativeBuffer, Out<Pointer | null>], number>
  readonly deleteSecContext: Native<[Minor, Out<Pointer | null>, null], number>
  readonly wrap: Native<[Minor, Pointer, number, number, NativeBuffer, Out<number>, NativeBuffer], number>
  readonly unwrap: Native<[Minor, Pointer, NativeBuffer, NativeBuffer, Out<number>, Out<number>], number>
  readonly wrapSizeLimit: Native<[Minor, Pointer, number, number, number, Out<number>], number>
  readonly displayStatus: Native<[Minor, number, number, NativeOid, Out<number>, NativeBuffer], number>
  readonly releaseBuffer: Native<[Minor, NativeBuffer], number>
}

const oid = (...bytes: number[]): NativeOid => ({ length: bytes.length, elements: Uint8Array.from(bytes) })

export const OIDS = {
  /** 1.2.840.113554.1.2.2 */
  krb5: oid(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02),
  /** 1.3.6.1.5.5.2 */
  spnego: oid(0x2b, 0x06, 0x01, 0x05, 0x05, 0x02),
  /** GSS_C_NT_HOSTBASED_SERVICE, 1.2.840.113554.1.2.1.4 */
  hostBasedService: oid(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x01, 0x04),
  /** GSS_KRB5_NT_PRINCIPAL_NAME, 1.2.840.113554.1.2.2.1 */
  krb5Principal: oid(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x01),
} as const

export function gssFunctions({ koffi, gssapi }: KerberosLibraries): GssFunctions {
  const struct = structOf(koffi)
  const bufferType = struct({ length: 'size_t', value: 'void *' })
  const buffer = koffi.pointer(bufferType)
  const bindings = koffi.pointer(
    struct({
      initiatorType: 'uint32_t',
      initiator: bufferType,
      acceptorType: 'uint32_t',
      acceptor: bufferType,
      application: bufferType,
    }),
  )
  const oidType = struct({ length: 'uint32_t', elements: 'uint8_t *' })
  const oidSet = koffi.pointer(struct({ count: 'size_t', elements: koffi.pointer(oidType) }))
  // These two are declared outside of gssapi.h's packing.
  const storeElement = koffi.struct({ key: 'const char *', value: 'const char *' })
  const store = koffi.pointer(koffi.struct({ count: 'uint32_t', elements: koffi.pointer(storeElement) }))

  const number = 'uint32_t'
  const outNumber = koffi.out(koffi.pointer('uint32_t'))
  const outInt = koffi.out(koffi.pointer('int'))
  const object = 'void *'
  const outObject = koffi.out(koffi.pointer('void *'))
  const inoutObject = koffi.inout(koffi.pointer('void *'))
  const outBuffer = koffi.out(buffer)
  const inoutBuffer = koffi.inout(buffer)
  const inoutNumber = koffi.inout(koffi.pointer('uint32_t'))
  const oidPointer = koffi.pointer(oidType)
  const nothing = 'void *'

  const declare = <Args extends readonly unknown[]>(name: string, types: NativeType[]): Native<Args, number> =>
    gssapi.func(`gss_${name}`, number, types) as unknown as Native<Args, number>

  return {
    acquireCredFrom: declare('acquire_cred_from', [
      outNumber,
      object,
      number,
      oidSet,
      'int',
      store,
      outObject,
      nothing,
      nothing,
    ]),
    inquireCred: declare('inquire_cred', [outNumber, object, outObject, outNumber, nothing, nothing]),
    releaseCred: declare('release_cred', [outNumber, inoutObject]),
    exportCred: declare('export_cred', [outNumber, object, outBuffer]),
    importCred: declare('import_cred', [outNumber, buffer, outObject]),
    storeCredInto: declare('store_cred_into', [
      outNumber,
      object,
      'int',
      oidPointer,
      number,
      number,
      store,
      nothing,
      nothing,
    ]),
    importName: declare('import_name', [outNumber, buffer, oidPointer, outObject]),
    displayName: declare('display_name', [outNumber, object, outBuffer, nothing]),
    releaseName: declare('release_name', [outNumber, inoutObject]),
    initSecContext: declare('init_sec_context', [
      outNumber,
      object,
      inoutObject,
      object,
      oidPointer,
      number,
      number,
      bindings,
      buffer,
      nothing,
      outBuffer,
      outNumber,
      nothing,
    ]),
    inquireContext: declare('inquire_context', [
      outNumber,
      object,
      outObject,
      outObject,
      outNumber,
      nothing,
      outNumber,
      nothing,
      nothing,
    ]),
    exportSecContext: declare('export_sec_context', [outNumber, inoutObject, outBuffer]),
    importSecContext: declare('import_sec_context', [outNumber, buffer, outObject]),
    deleteSecContext: declare('delete_sec_context', [outNumber, inoutObject, nothing]),
    wrap: declare('wrap', [outNumber, object, 'int', number, buffer, outInt, outBuffer]),
    unwrap: declare('unwrap', [outNumber, object, buffer, outBuffer, outInt, outNumber]),
    wrapSizeLimit: declare('wrap_size_limit', [outNumber, object, 'int', number, number, outNumber]),
    displayStatus: declare('display_status', [outNumber, number, 'int', oidPointer, inoutNumber, outBuffer]),
    releaseBuffer: declare('release_buffer', [outNumber, inoutBuffer]),
  }
}

/** On Intel Macs gssapi.h packs its structs to two bytes, which for these members is no padding at all. */
function structOf(koffi: Koffi): Koffi['struct'] {
  return process.platform === 'darwin' && process.arch === 'x64' ? koffi.pack : koffi.struct
}
