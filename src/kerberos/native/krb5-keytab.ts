import type { Operation } from './krb5-operation.ts'
import type { Out, Pointer } from './load.ts'

export interface KeytabEntry {
  readonly principal: string
  /** The key's version. */
  readonly kvno: number
  readonly encryptionType: string
  /** Milliseconds since the epoch; 0 when the keytab does not say. */
  readonly writtenAt: number
}

const KT_END = -1765328202

export function entriesOf(operation: Operation, name: string): KeytabEntry[] {
  const { functions, context } = operation
  const facts = { keytab: name }
  const keytab = operation.keytab(name, facts)
  const cursor: Out<Pointer | null> = [null]
  operation.check('read-keytab', functions.ktStartSeqGet(context, keytab, cursor), facts)
  operation.defer(() => functions.ktEndSeqGet(context, keytab, cursor))
  const entries: KeytabEntry[] = []
  for (;;) {
    const bytes = Buffer.alloc(functions.sizes.keytabEntry)
    const code = functions.ktNextEntry(context, keytab, bytes, cursor)
    if (code === KT_END) return entries
    operation.check('read-keytab', code, facts)
    const raw = functions.decodeKeytabEntry(bytes)
    entries.push({
      principal: operation.nameOf(raw.principal),
      kvno: raw.vno,
      encryptionType: operation.encryptionType(raw.key.enctype),
      writtenAt: raw.timestamp * 1000,
    })
    functions.freeKeytabEntryContents(context, bytes)
  }
}

export interface DefaultKeytabs {
  /** `default_client_keytab_name` of krb5.conf, or KRB5_CLIENT_KTNAME. */
  readonly client: string
  /** `default_keytab_name` of krb5.conf, or KRB5_KTNAME. */
  readonly general: string
}

export function defaultKeytabs(operation: Operation): DefaultKeytabs {
  const { functions, context } = operation
  const nameOf = (open: (context: Pointer, out: Out<Pointer | null>) => number): string => {
    const keytab = operation.make('read-keytab', {}, (out) => open(context, out))
    operation.defer(() => functions.ktClose(context, keytab))
    const name = Buffer.alloc(1024)
    operation.check('read-keytab', functions.ktGetName(context, keytab, name, name.length), {})
    return name.toString('utf8', 0, name.indexOf(0))
  }
  return { client: nameOf(functions.ktClientDefault), general: nameOf(functions.ktDefault) }
}
