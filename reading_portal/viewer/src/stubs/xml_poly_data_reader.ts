/** Stands in for vtk.js' XML polydata reader: only .vtp meshes need it, and the portal shows none. */
export const newInstance = (): never => {
  throw new Error("VTP meshes are not supported");
};
export default { newInstance };
