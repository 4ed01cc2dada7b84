import { AwsRefusal } from './signature.ts'

type Input = Readonly<Record<string, unknown>>

interface Version {
  readonly text: string
  readonly type: string
  readonly key: string | undefined
  readonly tier: string
  readonly labels: Set<string>
}

/** The parameters of Systems Manager's Parameter Store, by its API reference. */
export class Parameters {
  readonly #parameters = new Map<string, Version[]>()

  put(name: string, text: string, labels: readonly string[] = [], more: Input = {}): number {
    const versions = this.#parameters.get(name) ?? []
    const { Type = 'SecureString', KeyId = 'alias/aws/ssm', Tier = 'Standard' } = more
    const key = Type === 'SecureString' ? String(KeyId) : undefined
    versions.push({ text, labels: new Set(labels), type: String(Type), key, tier: String(Tier) })
    this.#parameters.set(name, versions)
    return versions.length
  }

  answer(action: string, input: Input): Readonly<Record<string, unknown>> {
    switch (action) {
      case 'GetParameter':
        return this.#get(input)
      case 'GetParameterHistory':
        return this.#history(input)
      case 'PutParameter':
        return this.#put(input)
      default:
        throw new AwsRefusal('InvalidAction', `${action} is not known here.`)
    }
  }

  #get({ Name, WithDecryption: isPlain }: Input): Readonly<Record<string, unknown>> {
    const [name = '', selector] = String(Name)
      .replace(/^arn:aws:ssm:[^:]*:[^:]*:parameter/, '')
      .split(':')
    const versions = this.#parameters.get(name)
    if (versions === undefined) throw new AwsRefusal('ParameterNotFound', `Parameter ${name} not found.`)
    const index =
      selector === undefined
        ? versions.length - 1
        : /^\d+$/.test(selector)
          ? Number(selector) - 1
          : versions.findIndex(({ labels }) => labels.has(selector))
    const version = versions[index]
    if (version === undefined) {
      const message = `Systems Manager could not find version ${selector} of ${name}. Verify the version and try again.`
      throw new AwsRefusal('ParameterVersionNotFound', message)
    }
    const value =
      isPlain === true || version.type === 'String'
        ? version.text
        : `AQICAHcipher${Buffer.from(version.text).toString('base64')}`
    return { Parameter: { Name: name, Type: version.type, Value: value, Version: index + 1 } }
  }

  /** In pages of two, however many are asked for. */
  #history({ Name, NextToken: next, WithDecryption: isPlain }: Input): Readonly<Record<string, unknown>> {
    const versions = this.#parameters.get(String(Name))
    if (versions === undefined) throw new AwsRefusal('ParameterNotFound', `Parameter ${Name} not found.`)
    const from = Number(next ?? 0)
    const page = versions.slice(from, from + 2).map(({ text, type, key, tier }, index) => {
      const Value = isPlain === true || type === 'String' ? text : 'AQICAHcipher'
      return { Name, Value, Version: from + index + 1, Type: type, KeyId: key, Tier: tier }
    })
    return { Parameters: page, NextToken: from + 2 < versions.length ? String(from + 2) : undefined }
  }

  #put({ Name, Value, Overwrite: isOverwrite, ...more }: Input): Readonly<Record<string, unknown>> {
    const name = String(Name)
    if (this.#parameters.has(name) && isOverwrite !== true) {
      throw new AwsRefusal('ParameterAlreadyExists', 'The parameter already exists.')
    }
    return { Version: this.put(name, String(Value), [], more) }
  }
}
