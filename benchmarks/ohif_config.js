// OHIF's own configuration file, the only one that a site writes. Everything is OHIF's default except where the
// data is, that frames are asked for as HTJ2K (the smallest that it can take from us), and the tour of beginners.
window.config = {
  name: "county", routerBasename: null, extensions: [], modes: [], customizationService: {},
  showStudyList: true, maxNumberOfWebWorkers: 3, showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: false, showLoadingIndicator: true, strictZSpacingForVolumeViewport: true,
  groupEnabledModesFirst: true, maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 25 },
  investigationalUseDialog: { option: "never" },
  defaultDataSourceName: "dicomweb",
  dataSources: [{
    namespace: "@ohif/extension-default.dataSourcesModule.dicomweb", sourceName: "dicomweb",
    configuration: {
      friendlyName: "county", name: "county",
      qidoRoot: location.origin + "/dicom-web", wadoRoot: location.origin + "/dicom-web",
      wadoUriRoot: location.origin + "/dicom-web",
      qidoSupportsIncludeField: true, imageRendering: "wadors", thumbnailRendering: "thumbnail", thumbnailRequestStrategy: "fetch",
      enableStudyLazyLoad: true, supportsFuzzyMatching: true, supportsWildcard: true, staticWado: false,
      singlepart: "bulkdata,video,pdf",
      bulkDataURI: { enabled: true, relativeResolution: "studies" },
      acceptHeader: ["multipart/related; type=\"image/jphc\"; transfer-syntax=1.2.840.10008.1.2.4.202"],
    },
  }],
};
