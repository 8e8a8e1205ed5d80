/**
 * Services for tools that know gRPC and nothing of Cairn: health checkers and grpcurl. Their packages parse
 * .proto files, which takes longer than everything else at the start of a daemon, so they are loaded by the
 * first request.
 */
import type {
  MethodDefinition,
  Server,
  ServiceDefinition,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type * as protoLoader from '@grpc/proto-loader'
import type * as reflection from '@grpc/reflection'
import type * as healthCheck from 'grpc-health-check'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { must } from '../../core/assert.ts'
import type { Guard } from './guard.ts'

const require = createRequire(import.meta.url)

/** Beside src/ and dist/ alike, and so in an installed package. */
const protoFolder = fileURLToPath(new URL('../../../proto/', import.meta.url))
const protoFiles = ['session', 'nodes', 'blocks', 'admin', 'identity'].map(name => `cairn/v1/${name}.proto`)

const healthName = 'grpc.health.v1.Health'

interface Service {
  readonly definition: ServiceDefinition
  readonly implementation: UntypedServiceImplementation
}

export interface Health {
  /** Answers NOT_SERVING from now on. */
  stopping(): void
}

/** Health of the server as a whole and of each of `services`, all the same. */
export function addHealth(server: Server, guard: Guard, services: readonly string[]): Health {
  let status: 'SERVING' | 'NOT_SERVING' = 'SERVING'
  let implementation: healthCheck.HealthImplementation | undefined
  const load = (): readonly Service[] => {
    const { HealthImplementation } = require('grpc-health-check') as typeof healthCheck
    implementation = new HealthImplementation(
      Object.fromEntries(['', ...services].map(name => [name, status])),
    )
    return servicesOf(implementation)
  }
  const later = new LazyServices(guard, load)
  later.add(server, `/${healthName}/Check`, { stream: false })
  later.add(server, `/${healthName}/List`, { stream: false })
  later.add(server, `/${healthName}/Watch`, { stream: true })
  return {
    stopping() {
      status = 'NOT_SERVING'
      for (const name of ['', ...services]) implementation?.setStatus(name, status)
    },
  }
}

/** Tells the descriptions of `services`, and of the health service. */
export function addReflection(server: Server, guard: Guard, services: readonly string[]): void {
  const later = new LazyServices(guard, () => {
    const { loadSync } = require('@grpc/proto-loader') as typeof protoLoader
    const { protoPath } = require('grpc-health-check') as typeof healthCheck
    const { ReflectionService } = require('@grpc/reflection') as typeof reflection
    const described = loadSync([...protoFiles, protoPath], {
      includeDirs: [protoFolder, dirname(protoPath)],
    })
    return servicesOf(new ReflectionService(described, { services: [...services, healthName] }))
  })
  for (const version of ['v1', 'v1alpha'])
    later.add(server, `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`, {
      stream: true,
      requestStream: true,
    })
}

/** What a package would add to a server. */
function servicesOf(source: { addToServer(server: Server): void }): readonly Service[] {
  const services: Service[] = []
  const recorder: Pick<Server, 'addService'> = {
    addService: (definition, implementation) => void services.push({ definition, implementation }),
  }
  source.addToServer(recorder as Server)
  return services
}

interface Loaded {
  readonly method: MethodDefinition<unknown, unknown>
  readonly handler: (...args: unknown[]) => void
}

/** Methods whose codecs and handlers are looked up in what `load` gives, when first used. */
class LazyServices {
  readonly #guard: Guard
  readonly #load: () => readonly Service[]
  #services: readonly Service[] | undefined

  constructor(guard: Guard, load: () => readonly Service[]) {
    this.#guard = guard
    this.#load = load
  }

  add(server: Server, path: string, kind: { stream: boolean; requestStream?: boolean }): void {
    let found: Loaded | undefined
    const get = (): Loaded => (found ??= this.#find(path))
    const method: MethodDefinition<unknown, unknown> = {
      path,
      requestStream: kind.requestStream ?? false,
      responseStream: kind.stream,
      requestSerialize: value => get().method.requestSerialize(value),
      requestDeserialize: bytes => get().method.requestDeserialize(bytes),
      responseSerialize: value => get().method.responseSerialize(value),
      responseDeserialize: bytes => get().method.responseDeserialize(bytes),
    }
    const handler = ((...args: unknown[]) => get().handler(...args)) as UntypedHandleCall
    this.#guard.add(server, method, handler)
  }

  #find(path: string): Loaded {
    this.#services ??= this.#load()
    for (const { definition, implementation } of this.#services) {
      for (const [name, method] of Object.entries(definition)) {
        if (method.path !== path) continue
        const handler = implementation[name] ?? implementation[method.originalName ?? name]
        return { method, handler: must(handler, `handler of ${path}`) as Loaded['handler'] }
      }
    }
    throw new Error(`no package serves ${path}`)
  }
}
