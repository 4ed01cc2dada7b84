import type { KerberosLibraries, Native, NativeType, Out, Pointer } from './load.ts'

/** The functions of libkrb5 by which a key is changed and derived (krb5.h). They are loaded for a rotation alone. */

type Context = Pointer
type OutPointer = Out<Pointer | null>

/** `krb5_data` */
export interface NativeData {
  readonly magic: number
  readonly length: number
  readonly data: Uint8Array | Pointer | null
}

export interface KeyFunctions {
  /** RFC 3244: the answer of the KDC is a number, and texts in the two buffers. */
  readonly changePassword: Native<[Context, Uint8Array, Uint8Array, Out<number>, Uint8Array, Uint8Array], number>
  /** The words of such an answer, also of the binary one of Active Directory. */
  readonly changeMessage: Native<[Context, Uint8Array, OutPointer], number>
  readonly getEtypeInfo: Native<[Context, Pointer, Pointer, Out<number>, Uint8Array, Uint8Array], number>
  readonly optSetEtypeList: Native<[Pointer, Pointer, number], void>
  readonly stringToKey: Native<[Context, number, NativeData, NativeData, NativeData | null, Uint8Array], number>
  readonly freeData: Native<[Context, Uint8Array], void>
  readonly freeKey: Native<[Context, Uint8Array], void>
  readonly freeString: Native<[Context, Pointer], void>

  readonly sizes: { readonly data: number; readonly key: number }
  readonly readData: (struct: Uint8Array) => Buffer
  readonly readKey: (struct: Uint8Array) => Buffer
  readonly bytes: (pointer: Pointer, length: number) => Buffer
  /** Numbers in native memory, which krb5 keeps a pointer to. Release them. */
  readonly numbers: (values: readonly number[]) => { readonly pointer: Pointer; release(): void }
}

export function keyFunctions({ koffi, krb5 }: KerberosLibraries): KeyFunctions {
  const data = koffi.struct({ magic: 'int32_t', length: 'uint32_t', data: 'void *' })
  const key = koffi.struct({ magic: 'int32_t', enctype: 'int32_t', length: 'uint32_t', contents: 'void *' })
  const object = 'void *'
  const struct = 'void *'
  const given = koffi.pointer(data)
  const out = koffi.out(koffi.pointer('void *'))
  const outNumber = koffi.out(koffi.pointer('int'))
  const of = <Args extends readonly unknown[], Result>(
    name: string,
    types: NativeType[],
    result: 'int' | 'void' = 'int',
  ): Native<Args, Result> => krb5.func(name, result, types) as unknown as Native<Args, Result>
  const bytes = (pointer: Pointer, length: number): Buffer =>
    length === 0 ? Buffer.alloc(0) : Buffer.from(koffi.decode(pointer, 'uint8_t', length) as Uint8Array)

  return {
    changePassword: of('krb5_change_password', [object, struct, struct, outNumber, struct, struct]),
    changeMessage: of('krb5_chpw_message', [object, struct, out]),
    getEtypeInfo: of('krb5_get_etype_info', [object, object, object, outNumber, struct, struct]),
    optSetEtypeList: of('krb5_get_init_creds_opt_set_etype_list', [object, object, 'int'], 'void'),
    stringToKey: of('krb5_c_string_to_key_with_params', [object, 'int32_t', given, given, given, struct]),
    freeData: of('krb5_free_data_contents', [object, struct], 'void'),
    freeKey: of('krb5_free_keyblock_contents', [object, struct], 'void'),
    freeString: of('krb5_free_string', [object, object], 'void'),

    sizes: { data: koffi.sizeof(data), key: koffi.sizeof(key) },
    readData: (from) => {
      const found = koffi.decode(from, data) as { length: number; data: Pointer }
      return bytes(found.data, found.length)
    },
    readKey: (from) => {
      const found = koffi.decode(from, key) as { length: number; contents: Pointer }
      return bytes(found.contents, found.length)
    },
    bytes,
    numbers: (values) => {
      const pointer: Pointer = koffi.alloc('int32_t', values.length)
      koffi.encode(pointer, 'int32_t', [...values], values.length)
      return { pointer, release: () => koffi.free(pointer) }
    },
  }
}
